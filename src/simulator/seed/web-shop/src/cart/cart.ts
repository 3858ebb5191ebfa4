import type { Product } from "../catalogue/products.js";

export interface Line {
  product: Product;
  quantity: number;
}

const MOST_OF_ONE_PRODUCT = 20;

/** What one customer wants to buy. */
export class Cart {
  private readonly lines_ = new Map<string, Line>();

  /** Adds to what is there. Throws when there is not enough in stock. */
  add(product: Product, quantity: number): void {
    const already = this.lines_.get(product.sku)?.quantity ?? 0;
    this.set(product, already + quantity);
  }

  /** Sets the quantity; 0 removes the line. */
  set(product: Product, quantity: number): void {
    if (!Number.isInteger(quantity) || quantity < 0) throw new Error("quantity must be a whole number");
    if (quantity > MOST_OF_ONE_PRODUCT) throw new Error(`at most ${MOST_OF_ONE_PRODUCT} of one product`);
    if (quantity > product.stock) throw new Error(`only ${product.stock} of ${product.name} in stock`);
    if (quantity === 0) this.lines_.delete(product.sku);
    else this.lines_.set(product.sku, { product, quantity });
  }

  get lines(): Line[] {
    return [...this.lines_.values()];
  }
}
