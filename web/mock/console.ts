// Serves the built console as internal/web of the Go server does.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";
import type { connectNodeAdapter } from "@connectrpc/connect-node";

const dist = process.env.CONSOLE_DIST || fileURLToPath(new URL("../../internal/web/dist", import.meta.url));
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const types: Record<string, string> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };

export const serveConsole: NonNullable<NonNullable<Parameters<typeof connectNodeAdapter>[0]>["fallback"]> = (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://mock").pathname));
  const asset = path.startsWith("/assets/");
  const file = asset ? path : "/index.html";
  try {
    const body = readFileSync(join(dist, file));
    const packed = extname(file) === ".woff2" ? body : gzipSync(body);
    response.writeHead(200, {
      "Content-Type": types[extname(file)] ?? "application/octet-stream",
      "Content-Security-Policy": policy,
      "Cache-Control": asset ? "public, max-age=31536000, immutable" : "no-cache",
      ...(packed !== body && { "Content-Encoding": "gzip" }),
    });
    response.end(packed);
  } catch {
    response.writeHead(404);
    response.end("not found: run npm run build first");
  }
};
