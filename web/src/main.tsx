import { createRoot } from "react-dom/client";
import { browserTransport, createApi } from "~/api/api";
import { beginSession } from "~/api/session";
import { App } from "~/app/App";
import { lookFromUrl } from "~/pages/deliveries/address";
import { beginDeliveries } from "~/pages/deliveries/useDeliveries";
import { pages } from "~/pages/registry";
import { startTheme } from "~/theme/theme";
import "~/theme/fonts.css";
import "~/theme/tokens.css";
import "~/theme/base.css";

startTheme();
const api = createApi(browserTransport());
const { pathname, search } = window.location;
// What the first page asks for is on its way while the page is put together, and
// so is its code.
if (pathname !== "/signin") beginSession(api);
if (pathname === "/" || pathname === "/deliveries") beginDeliveries(api, lookFromUrl(new URLSearchParams(pathname === "/" ? "" : search)));
const depth = (path: string) => path.split("/").filter(Boolean).length;
const first = pages.find(({ routes }) => routes.some((route) => pathname.startsWith(`/${route.split("/")[1]}`) && depth(route) >= depth(pathname)));
void first?.load();

createRoot(document.getElementById("root")!).render(<App api={api} />);
