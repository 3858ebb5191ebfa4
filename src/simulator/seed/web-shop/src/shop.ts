import { signIn, signOut, type Customer } from "./auth/login.js";
import { Sessions } from "./auth/session.js";
import { Cart } from "./cart/cart.js";
import { total } from "./cart/prices.js";
import type { Product } from "./catalogue/products.js";
import { search } from "./catalogue/search.js";
import type { Config } from "./config.js";
import { cookie } from "./http/cookies.js";
import { Router, type Request } from "./http/router.js";

/** The shop's routes over its products and customers. */
export function shop(config: Config, products: Product[], customers: Map<string, Customer>): Router {
  const sessions = new Sessions();
  const carts = new Map<string, Cart>();
  const unauthorized = { status: 401, body: { error: "please sign in" } };

  const customerOf = (request: Request): string | undefined => {
    const id = cookie(request.cookies, config.session.cookieName);
    return id ? sessions.use(id)?.customerId : undefined;
  };

  return new Router()
    .on("GET", "/products", (request) => {
      const page = Number(request.query.get("page") ?? "1") || 1;
      return { status: 200, body: search(products, request.query.get("q") ?? "", page, config.search.pageSize) };
    })
    .on("POST", "/login", (request) => {
      const { email, password } = request.body as { email?: string; password?: string };
      const signedIn = signIn(customers, sessions, config.session, email ?? "", password ?? "");
      if (!signedIn) return { status: 401, body: { error: "unknown address or wrong password" } };
      return { status: 200, body: {}, headers: { "Set-Cookie": signedIn.cookie } };
    })
    .on("POST", "/logout", (request) => {
      const id = cookie(request.cookies, config.session.cookieName) ?? "";
      return { status: 200, body: {}, headers: { "Set-Cookie": signOut(sessions, config.session, id) } };
    })
    .on("GET", "/cart", (request) => {
      const customer = customerOf(request);
      if (!customer) return unauthorized;
      const lines = carts.get(customer)?.lines ?? [];
      return { status: 200, body: { lines, ...total(lines, config.delivery) } };
    })
    .on("PUT", "/cart", (request, sku) => {
      const customer = customerOf(request);
      if (!customer) return unauthorized;
      const product = products.find((candidate) => candidate.sku === sku);
      if (!product) return { status: 404, body: { error: "no such product" } };
      const cart = carts.get(customer) ?? new Cart();
      carts.set(customer, cart);
      try {
        cart.set(product, (request.body as { quantity?: number }).quantity ?? 1);
      } catch (error) {
        return { status: 400, body: { error: (error as Error).message } };
      }
      return { status: 200, body: { lines: cart.lines, ...total(cart.lines, config.delivery) } };
    });
}
