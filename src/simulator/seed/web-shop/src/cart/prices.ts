import type { Line } from "./cart.js";

export interface Delivery {
  feeCents: number;
  freeFromCents: number;
}

export interface Total {
  goodsCents: number;
  deliveryCents: number;
  totalCents: number;
}

/** What the lines cost. Delivery is free from `freeFromCents` on, and for an empty cart. */
export function total(lines: Line[], delivery: Delivery): Total {
  const goodsCents = lines.reduce((sum, line) => sum + line.product.priceCents * line.quantity, 0);
  const free = goodsCents === 0 || goodsCents >= delivery.freeFromCents;
  const deliveryCents = free ? 0 : delivery.feeCents;
  return { goodsCents, deliveryCents, totalCents: goodsCents + deliveryCents };
}

/** An amount for people: 1290 is "12.90 EUR". */
export function format(cents: number, currency: string): string {
  return `${(cents / 100).toFixed(2)} ${currency}`;
}
