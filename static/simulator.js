// While an answer is awaited the page looks again by itself, unless somebody is writing on it.
"use strict";
(() => {
  const pauseMs = 2000;
  const mostLooks = 150;
  let looks = 0;

  const writing = () =>
    document.activeElement?.matches("textarea, select, input") ||
    [...document.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);

  async function look() {
    looks += 1;
    let again = true;
    if (!document.hidden && !writing()) {
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        const next = new DOMParser().parseFromString(await response.text(), "text/html");
        const main = next.querySelector("main");
        if (response.ok && main && !writing()) {
          document.querySelector("main").replaceWith(main);
          again = next.querySelector("script[src]") !== null;
        }
      } catch {
        // The server may be restarting: look again later.
      }
    }
    if (again && looks < mostLooks) setTimeout(look, pauseMs);
  }

  setTimeout(look, pauseMs);
})();
