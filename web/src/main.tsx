import { createRoot } from "react-dom/client";
import { App } from "~/app/App";
import { pages } from "~/pages/registry";
import { startTheme } from "~/theme/theme";
import "~/theme/fonts.css";
import "~/theme/tokens.css";
import "~/theme/base.css";

startTheme();
// The code of the first page comes while the rest is put together.
const depth = (path: string) => path.split("/").filter(Boolean).length;
const { pathname } = window.location;
const first = pages.find(({ routes }) => routes.some((route) => pathname.startsWith(`/${route.split("/")[1]}`) && depth(route) >= depth(pathname)));
void (first ?? pages[0])?.load();

createRoot(document.getElementById("root")!).render(<App />);
