// Loaded before the page is drawn, so that it never flashes in the wrong colours.
"use strict";

(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try { return localStorage.getItem("ursa.theme"); } catch { return null; }
  };
  const apply = (chosen) => {
    root.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  };
  apply(read());
  dark.addEventListener("change", () => apply(read()));

  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const chosen = root.dataset.theme === "dark" ? "light" : "dark";
      // What the system says anyway need not be remembered.
      const remembered = chosen === (dark.matches ? "dark" : "light") ? null : chosen;
      try {
        if (remembered) localStorage.setItem("ursa.theme", remembered);
        else localStorage.removeItem("ursa.theme");
      } catch { /* private window: the choice lasts as long as the page */ }
      apply(chosen);
    });
  });
})();
