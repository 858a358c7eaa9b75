"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const search = byId("search"), verdict = byId("verdict"), changing = byId("changing"), shown = byId("shown");
  const sections = [...document.querySelectorAll(".topology")];
  const rows = new Map([...document.querySelectorAll("#grid tr[data-of]")].map((row) => [row.dataset.of, row]));
  const texts = new Map();

  // A section's text is made small once, when it is first searched.
  const textOf = (section) => {
    if (!texts.has(section)) texts.set(section, section.textContent.toLowerCase());
    return texts.get(section);
  };
  const hasVerdict = (section) => {
    const found = section.dataset.verdicts.split(" ");
    if (verdict.value === "unexpected") return found.some((one) => !["pass", "xfail", "skip"].includes(one));
    return !verdict.value || found.includes(verdict.value);
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const section of sections) {
      const fits = hasVerdict(section) && (!changing.checked || section.dataset.differs === "true")
        && words.every((word) => textOf(section).includes(word));
      section.hidden = !fits;
      rows.get(section.id).hidden = !fits;
      count += fits;
    }
    shown.value = count + " of " + sections.length + " topologies";
  };
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  verdict.addEventListener("change", filter);
  changing.addEventListener("change", filter);

  // A link to a cell shows it whatever is filtered, and opens its account.
  const open = () => {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const section = target.closest(".topology");
    if (section && section.hidden) {
      search.value = verdict.value = "";
      changing.checked = false;
      filter();
    }
    if (target.tagName === "TR") {
      const kernel = target.cells[0].textContent;
      for (const account of section.querySelectorAll(".account"))
        if (account.dataset.kernels.split(" ").includes(kernel)) account.open = true;
      target.focus({ preventScroll: true });
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = (event, [dx, dy]) => {
    const cell = event.target.closest("td, th");
    const visible = [...cell.closest("tbody").rows].filter((row) => !row.hidden);
    let x = cell.cellIndex + dx, y = visible.indexOf(cell.parentElement) + dy;
    for (; visible[y] && visible[y].cells[x]; x += dx, y += dy) {
      const link = visible[y].cells[x].querySelector("a");
      if (link) { link.focus(); event.preventDefault(); return; }
    }
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select");
    if (event.key === "/" && !typing) { search.focus(); event.preventDefault(); }
    if (event.key === "Escape" && event.target === search) { search.value = ""; filter(); }
    if (moves[event.key] && event.target.closest("#grid tbody")) move(event, moves[event.key]);
  });

  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details.account").forEach((one) => { one.open = true; }));
  document.querySelector(".controls").hidden = false;
  filter();
  if (location.hash) open();
})();
