"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const search = byId("search"), verdict = byId("verdict"), changing = byId("changing"), shown = byId("shown");
  const sections = [...document.querySelectorAll(".topology")];
  const rows = new Map([...document.querySelectorAll("#grid tbody tr")].map(
    (row) => [row.querySelector("a").getAttribute("href").slice(1), row]));
  const texts = new Map();

  // A section's text is made small once, when it is first searched.
  const textOf = (section) => {
    if (!texts.has(section)) texts.set(section, section.textContent.toLowerCase());
    return texts.get(section);
  };
  const hasVerdict = (section) => {
    const found = section.dataset.verdicts.split(" ");
    if (verdict.value === "unexpected") return found.some((one) => !["pass", "xfail", "skip", "unsupported"].includes(one));
    return !verdict.value || found.includes(verdict.value);
  };
  // To lay out rows of many kernels takes a browser 1 to 5 ms each, so they are shown in slices, one a frame: larger ones where frames
  // are short, smaller ones where they are long. To hide rows costs little. A row that comes into sight because others are hidden
  // costs as much as one that is shown again: it keeps its place, and is laid out in its turn.
  const SLICE = 6, SLICE_MAX = 40, SLICE_MIN = 4, SHORT_MS = 25, LONG_MS = 45;
  let frame = 0;
  const set = (section, isHidden) => {
    const row = rows.get(section.id);
    section.hidden = row.hidden = isHidden;
    row.classList.add("shown");
  };
  const isLaidOut = (row) => row.firstElementChild.checkVisibility?.({ contentVisibilityAuto: true }) ?? true;
  const isHidden = (section) => section.hidden || rows.get(section.id).hidden;
  const show = (all, slice, begun) => {
    cancelAnimationFrame(frame);
    all.splice(0, slice).forEach((section) => set(section, false));
    if (all.length) frame = requestAnimationFrame((now) => {
      const took = begun === undefined ? SHORT_MS : now - begun;
      const next = took < SHORT_MS ? Math.min(SLICE_MAX, slice * 2) : took > LONG_MS ? Math.max(SLICE_MIN, slice >> 1) : slice;
      show(all, slice === Infinity ? slice : next, now);
    });
  };
  const filter = (slice = SLICE) => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const toShow = [];
    let count = 0;
    // All are asked before one is changed.
    const laidOut = new Set([...rows.values()].filter(isLaidOut));
    for (const section of sections) {
      const fits = hasVerdict(section) && (!changing.checked || section.dataset.differs === "true")
        && words.every((word) => textOf(section).includes(word));
      const row = rows.get(section.id);
      if (fits && (isHidden(section) || !laidOut.has(row))) {
        toShow.push(section);
        row.classList.remove("shown");
      }
      if (!fits && !(section.hidden && rows.get(section.id).hidden)) set(section, true);
      count += fits;
    }
    show(toShow, slice);
    shown.value = count + " of " + sections.length + " topologies";
  };
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => filter(), 120); });
  verdict.addEventListener("change", () => filter());
  changing.addEventListener("change", () => filter());

  // Of a list such as "0-8 12": whether the number is one of these columns.
  const has = (list, number) => list.split(" ").some((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return first <= number && number <= last;
  });
  const kernels = [...document.querySelectorAll("#grid .kernel")].map((cell) => cell.textContent);
  // An entry is the kernel, a colon and the time.
  const kernelOf = (entry) => entry.textContent.slice(0, entry.textContent.lastIndexOf(": "));
  const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

  // Shows what a section says of one kernel, or of all of them.
  const choose = (section, kernel) => {
    for (const part of section.querySelectorAll(".account [data-k]"))
      part.hidden = kernel !== null && !has(part.dataset.k, kernels.indexOf(kernel));
    section.querySelector(".chosen")?.remove();
    if (kernel === null) return;
    const bar = element("div", ""), label = element("label", section.querySelector("h2").textContent + " on "), list = element("select", ""), all = element("button", "All kernels");
    bar.className = "chosen";
    for (const cell of section.querySelectorAll(".runs li")) {
      const name = kernelOf(cell);
      const option = element("option", name);
      option.value = cell.id;
      option.selected = name === kernel;
      list.append(option);
    }
    list.addEventListener("change", () => { location.hash = list.value; });
    all.type = "button";
    all.addEventListener("click", () => {
      choose(section, null);
      section.querySelector("h2 a").focus();
      history.replaceState(null, "", "#" + section.id);
    });
    label.append(list);
    bar.append(label, all);
    section.querySelector(".runs").closest(".scroll").before(bar);
  };

  const place = () => {
    const hash = location.hash.slice(1);
    try { return decodeURIComponent(hash); } catch { return hash; }
  };
  // A link to a cell shows it whatever is filtered, and opens its account. Of an address that was shortened or is of another
  // page, nothing is shown but that.
  const open = () => {
    const name = place();
    const target = byId(name);
    byId("absent").hidden = !name || target !== null;
    if (!target) return;
    const section = target.closest(".topology");
    if (section && section.hidden) {
      search.value = verdict.value = "";
      changing.checked = false;
      filter(Infinity);
    }
    if (!target.closest(".runs")) {
      target.scrollIntoView();
      return;
    }
    const account = section.querySelector(".account");
    if (account) account.open = true;
    choose(section, kernelOf(target));
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  // The same address again is no change of it.
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link && link.getAttribute("href") === location.hash) open();
  });

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
  addEventListener("beforeprint", () => {
    filter(Infinity);
    document.querySelectorAll("details.account").forEach((one) => { one.open = true; });
  });
  document.querySelector(".controls").hidden = false;
  filter();
  if (location.hash) open();
})();
