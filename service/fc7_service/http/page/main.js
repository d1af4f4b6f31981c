// The frame of the page: the bar, the choice of theme, and which view an address shows.

import { byId, fill, h, problem, put, say } from "./dom.js";
import { address, onRoute, readRoute, VIEWS } from "./route.js";

/** @typedef {{draw: (main: HTMLElement, route: import("./route.js").Route, signal: AbortSignal) => Promise<void>}} View */

const TITLES = { search: "Search", label: "Label", train: "Train", map: "Map" };

/** @type {Record<string, () => Promise<View>>} */
const LOADERS = {
  home: () => import("./home.js"),
  search: () => import("./search.js"),
  label: () => import("./label.js"),
  train: () => import("./train.js"),
  head: () => import("./train.js"),
  map: () => import("./map.js"),
  server: () => import("./server.js"),
};

let leaving = new AbortController();
let shown = "";

async function show() {
  const route = readRoute(location);
  leaving.abort(); // the listeners and calls of the view that is left
  leaving = new AbortController();
  const { signal } = leaving;
  const main = byId("main");
  drawTabs(route);
  const title = route.name ? `${route.name} · ${route.view}` : route.view === "server" ? "Server" : "fc7";
  document.title = title === "fc7" ? title : `${title} · fc7`;
  const place = `${route.view}/${route.name}`;
  if (place !== shown) {
    main.replaceChildren();
    scrollTo(0, 0);
  }
  main.setAttribute("aria-busy", "true");
  try {
    const view = await /** @type {() => Promise<View>} */ (LOADERS[route.view])();
    if (signal.aborted) return;
    document.body.dataset.view = route.view;
    await view.draw(main, route, signal);
  } catch (error) {
    if (signal.aborted) return;
    fill(main, problem(error), h("p", {}, h("a", { href: "/" }, "All collections")));
  }
  main.removeAttribute("aria-busy");
  if (shown && place !== shown) main.focus({ preventScroll: true });
  shown = place;
}

/** @param {import("./route.js").Route} route */
function drawTabs(route) {
  const tabs = byId("tabs");
  tabs.replaceChildren();
  for (const link of byId("tools").querySelectorAll("a")) mark(link, link.pathname === location.pathname);
  if (!route.name) return;
  put(tabs, h("span", { class: "where" }, route.name));
  if (route.view === "head") return;
  for (const view of VIEWS) {
    const link = h("a", { href: address(view, route.name) }, TITLES[/** @type {keyof typeof TITLES} */ (view)]);
    mark(link, view === route.view);
    put(tabs, link);
  }
}

/** @param {Element} link @param {boolean} isHere */
function mark(link, isHere) {
  if (isHere) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

const THEMES = { "": "Auto", light: "Light", dark: "Dark", contrast: "High contrast" };

function drawThemes() {
  const kept = localStorage.getItem("theme") ?? "";
  document.documentElement.dataset.theme = kept;
  const options = Object.entries(THEMES).map(([value, title]) => h("option", { value, selected: value === kept }, title));
  const choice = h("select", { "aria-label": "Colours" }, options);
  choice.addEventListener("change", () => {
    document.documentElement.dataset.theme = choice.value;
    localStorage.setItem("theme", choice.value);
    say(`Colours: ${THEMES[/** @type {keyof typeof THEMES} */ (choice.value)]}`);
    dispatchEvent(new Event("theme"));
  });
  put(byId("tools"), choice);
}

/** Start a session with the token that `fc7 ui` puts behind the address, where no server and no log sees it; take the user's name. */
async function takeToken() {
  const told = new URLSearchParams(location.hash.slice(1));
  const token = told.get("token");
  if (!token) return;
  if (localStorage.getItem("by") === null) localStorage.setItem("by", told.get("by") ?? "");
  history.replaceState(null, "", location.pathname + location.search);
  await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
}

drawThemes();
await takeToken();
onRoute(show);
await show();
