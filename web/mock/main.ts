// The mock server: the API over a generated world, and the built console with
// the headers that Plumb sends. `npm run mock -- --help` lists the flags.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { routes } from "./services";
import { serveConsole } from "./console";
import { World } from "./world";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "7420" },
    count: { type: "string", default: "5000" },
    "signed-in": { type: "boolean", default: false },
    still: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log("--port 7420 --count 5000 --signed-in (no sign-in page) --still (nothing changes by itself)");
} else {
  const world = new World(Number(values.count));
  if (!values.still) world.live();
  const api = connectNodeAdapter({ routes: routes(world, { signedIn: values["signed-in"] }), fallback: serveConsole });
  createServer(api).listen(Number(values.port), "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${values.port} with ${world.deliveries.length} deliveries; sign in as admin or viewer with the password plumb`);
  });
}
