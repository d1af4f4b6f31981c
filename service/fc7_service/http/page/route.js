// Every view has an address that opens it again: /collections/NAME/VIEW?what=is&shown=in it.

/** @typedef {{view: string, name: string, params: URLSearchParams}} Route */

export const VIEWS = ["search", "label", "train", "map"];

/**
 * Return what an address shows.
 * @param {URL | Location} url
 * @returns {Route}
 */
export function readRoute(url) {
  const [room = "", name = "", view = "search"] = url.pathname.split("/").slice(1).map(decodeURIComponent);
  const params = new URLSearchParams(url.search);
  if (room === "collections" && name) return { view: VIEWS.includes(view) ? view : "search", name, params };
  if (room === "heads" && name) return { view: "head", name, params };
  return { view: room === "server" ? "server" : "home", name: "", params };
}

/**
 * Return the address of a view.
 * @param {string} view
 * @param {string} [name] of the collection or the head
 * @param {Record<string, string | string[] | number | undefined>} [values]
 */
export function address(view, name = "", values = {}) {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== "") params.append(key, String(one));
  }
  const rest = params.size ? `?${params}` : "";
  const safe = encodeURIComponent(name);
  if (view === "home") return `/${rest}`;
  if (view === "server") return `/server${rest}`;
  if (view === "head") return `/heads/${safe}${rest}`;
  return `/collections/${safe}${view === "search" ? "" : `/${view}`}${rest}`;
}

/** @type {() => void} */
let show = () => {};

/** Say what draws a view when the address changes. @param {() => void} draw */
export function onRoute(draw) {
  show = draw;
  addEventListener("popstate", draw);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const url = new URL(link.href, location.href);
    if (url.origin !== location.origin || link.hasAttribute("download") || link.target || url.hash) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}

/** Open an address of this page. @param {string} href */
export function go(href) {
  history.pushState(null, "", href);
  show();
}

/** Change the address without drawing anew: the view has changed itself already. @param {string} href */
export function note(href) {
  history.replaceState(null, "", href);
}
