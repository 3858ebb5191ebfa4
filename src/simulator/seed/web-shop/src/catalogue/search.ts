import type { Product } from "./products.js";

export interface Page {
  items: Product[];
  page: number;
  pages: number;
}

/** Products whose name has every word of `query`; those in stock first, then by name. */
export function search(products: Product[], query: string, page: number, pageSize: number): Page {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = products
    .filter((product) => words.every((word) => product.name.toLowerCase().includes(word)))
    .sort((a, b) => Number(b.stock > 0) - Number(a.stock > 0) || a.name.localeCompare(b.name));
  const pages = Math.max(1, Math.ceil(found.length / pageSize));
  const current = Math.min(Math.max(1, page), pages);
  return { items: found.slice((current - 1) * pageSize, current * pageSize), page: current, pages };
}
