export interface Product {
  sku: string;
  name: string;
  priceCents: number;
  stock: number;
}

const HEADER = "sku;name;priceCents;stock";

/** Reads the export of purchasing: semicolons, one product a line, saved by a spreadsheet with a byte-order mark. */
export function parseProducts(csv: string): Product[] {
  const [header, ...lines] = csv.replace(/^\uFEFF/, "").split(/\r?\n/);
  if (header !== HEADER) throw new Error(`products: the first line must be ${HEADER}`);
  return lines.filter((line) => line.trim() !== "").map(parseLine);
}

function parseLine(line: string): Product {
  const [sku, name, price, stock, ...more] = line.split(";");
  const priceCents = Number(price);
  const count = Number(stock);
  if (!sku || !name || more.length > 0 || !Number.isInteger(priceCents) || !Number.isInteger(count)) {
    throw new Error(`products: cannot read the line "${line}"`);
  }
  return { sku, name, priceCents, stock: count };
}
