"use strict";
document.documentElement.classList.add("js");

document.addEventListener("DOMContentLoaded", () => {
  const root = document.documentElement;
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const title = document.title;

  // --- Which part of the page is shown: the one that the address names.

  const pages = all(".top nav a");
  let open = find("#overview");
  let chosen = null;
  let followed = null;

  function show() {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = document.getElementById(name);
    if (target && !target.closest(".view")) return;
    const view = target?.closest(".view") ?? find("#overview");
    const moved = view !== open;
    open.classList.remove("open");
    view.classList.add("open");
    open = view;
    hideTip();
    for (const page of pages) {
      if (page.hash === "#" + view.id) page.setAttribute("aria-current", "page");
      else page.removeAttribute("aria-current");
    }
    const heading = find("h2", view);
    const isCase = view.classList.contains("case");
    document.title = isCase ? heading.textContent.trim() + " · " + title : title;
    for (const figure of all(".map, .prompt, .plot", view)) figure.tabIndex = 0;
    if (isCase) {
      chosen = view.id;
      step(view);
    }
    if (!moved) return;
    // Back to where the case was opened from, or to its row.
    const links = isCase ? [] : [followed, find(`tbody a[href="#${chosen}"]`, view)];
    const link = links.find((each) =>
      each?.offsetParent && each.hash === "#" + chosen && (!target || target.contains(each)));
    if (link && name !== view.id) {
      link.focus({ preventScroll: true });
      link.scrollIntoView({ block: "center" });
    } else {
      heading.focus({ preventScroll: true });
      if (target && target !== view) target.scrollIntoView();
      else window.scrollTo(0, 0);
    }
  }

  // Previous and next follow the table as it is sorted and filtered.
  function step(view) {
    const shown = rows.filter((row) => !row.hidden);
    const at = shown.findIndex((row) => linkOf(row).hash === "#" + view.id);
    const point = (selector, row) => {
      const link = find(selector, view);
      if (row) link.href = linkOf(row).hash;
      else link.removeAttribute("href");
    };
    if (at < 0) return;
    point(".previous", shown[at - 1]);
    point(".next", shown[at + 1]);
    find(".place", view).textContent = `${at + 1} of ${shown.length.toLocaleString("en")}`;
  }

  // --- The table of checks: search, verdicts, failed only; sorting of all tables.

  const table = find("#check-table");
  const linkOf = (row) => row.cells[0].querySelector("a");
  let rows = [...table.tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = find("#search");
  const failedOnly = find("#failed-only");
  const clear = find("#clear");
  const tiles = all(".tile");

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const pressed = tiles.filter((tile) => tile.getAttribute("aria-pressed") === "true");
    const verdicts = new Set(pressed.map((tile) => tile.dataset.verdict));
    let n = 0;
    for (const row of rows) {
      const keep =
        (!failedOnly.checked || row.classList.contains("failed")) &&
        (!verdicts.size || verdicts.has(row.dataset.verdict)) &&
        words.every((word) => texts.get(row).includes(word));
      row.hidden = !keep;
      n += keep;
    }
    const count = rows.length.toLocaleString("en");
    find("#shown").textContent = `${n.toLocaleString("en")} of ${count} shown`;
    clear.hidden = !(words.length || verdicts.size || failedOnly.checked);
  }

  function sort(header) {
    const head = header.closest("tr");
    const body = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const now = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const other of head.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    const text = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    // What is undefined is worst of all, and no number.
    const number = (row) => (Number.isNaN(parseFloat(text(row))) ? -Infinity : parseFloat(text(row)));
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const keyed = [...body.rows].map((row) => [
      header.dataset.sort === "number" ? number(row) : text(row), row,
    ]);
    keyed.sort(([a], [b]) => {
      if (typeof a === "string") return sign * compare(a, b);
      return a === b ? 0 : sign * (a < b ? -1 : 1);
    });
    body.append(...keyed.map(([, row]) => row));
    if (body === table.tBodies[0]) rows = keyed.map(([, row]) => row);
  }

  function toggle(button) {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    return pressed;
  }

  search.addEventListener("input", filter);
  failedOnly.addEventListener("change", filter);
  for (const tile of tiles) {
    tile.addEventListener("click", () => {
      toggle(tile);
      filter();
      find("#shown").scrollIntoView({ block: "nearest" });
    });
  }
  clear.addEventListener("click", () => {
    search.value = "";
    failedOnly.checked = false;
    for (const tile of tiles) tile.setAttribute("aria-pressed", "false");
    filter();
    search.focus();
  });
  for (const header of all("th[data-sort]")) header.addEventListener("click", () => sort(header));
  for (const body of all(".cards tbody")) {
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (!event.target.closest("a") && row && getSelection().isCollapsed) linkOf(row).click();
    });
    body.addEventListener("keydown", (event) => {
      const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      let row = way && event.target.closest("tr")[way];
      while (row?.hidden) row = row[way];
      if (row) {
        event.preventDefault();
        linkOf(row).focus();
      }
    });
  }

  // --- Dark or light, for as long as the page is open.

  const theme = find("#theme");
  theme.setAttribute("aria-pressed", String(matchMedia("(prefers-color-scheme: dark)").matches));
  theme.addEventListener("click", () => { root.dataset.theme = toggle(theme) ? "dark" : "light"; });

  // --- Reading values: by the pointer, or with the arrow keys where a figure has the focus.

  const tip = find("#tip");
  const quoted = (text) => "\u2018" + text.replaceAll("\n", "\u21b5") + "\u2019";
  const said = (value) => (value === null || value === undefined ? "not computed" : String(value));
  const inside = (spans, role, at) => spans[role].some(([start, stop]) => start <= at && at < stop);
  const parsed = new WeakMap();
  const marked = new Set();
  let told = "";
  const place = () => `${scrollX} ${scrollY}`;

  function dataOf(element, name) {
    if (!parsed.has(element)) parsed.set(element, JSON.parse(element.dataset[name]));
    return parsed.get(element);
  }

  // The tokens' texts without the line ends that are drawn beside them.
  function tokensOf(element) {
    const prompt = find(".prompt", element.closest(".explanation"));
    if (!parsed.has(prompt.firstChild)) {
      const plain = (token) => [...token.childNodes].filter((part) => part.nodeName !== "S");
      parsed.set(prompt.firstChild, all("i", prompt).map((token) =>
        plain(token).map((part) => part.textContent).join("")));
    }
    return parsed.get(prompt.firstChild);
  }

  function hideTip() {
    tip.hidden = true;
    for (const element of marked) element.classList.remove("read", "reading");
    marked.clear();
  }

  function tell(text, box, aloud, element, name) {
    hideTip();
    tip.textContent = text;
    tip.hidden = false;
    told = place();
    element.classList.add(name);
    marked.add(element);
    const left = Math.min(box.left, innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
    if (aloud) find("#said").textContent = text;
  }

  // Bring a share of a map's width into what is seen of it.
  function bring(map, share) {
    const box = find(".z", map).getBoundingClientRect();
    const frame = map.parentElement.getBoundingClientRect();
    const x = box.left + share * box.width;
    if (x < frame.left || x > frame.right) {
      map.parentElement.scrollLeft += x - (frame.left + frame.right) / 2;
    }
  }

  const figures = {
    map: {
      size(map) {
        const { columns, values } = dataOf(map, "map");
        return [columns.length, values.length];
      },
      // Columns run to the right and layers upwards.
      under(map, event) {
        const box = find(".z", map).getBoundingClientRect();
        const [wide, high] = this.size(map);
        const x = Math.floor(((event.clientX - box.left) / box.width) * wide);
        const y = high - 1 - Math.floor(((event.clientY - box.top) / box.height) * high);
        return x >= 0 && x < wide && y >= 0 && y < high ? [x, y] : null;
      },
      read(map, [x, y], aloud) {
        const { columns, values } = dataOf(map, "map");
        const figure = map.closest("figure");
        const cell = find(".at", map);
        cell.setAttribute("d", `M${x} ${values.length - 1 - y}h1v1h-1z`);
        const token = quoted(tokensOf(map)[columns[x]] ?? "");
        const where = `${dataOf(figure, "rows")[y]}, token ${columns[x]} ${token}`;
        const text = `${where}: ${said(values[y][x])}\n${figure.dataset.unit}`;
        if (aloud) bring(map, (x + 0.5) / columns.length);
        // The cell's own box is empty as long as it is not drawn.
        const box = find(".z", map).getBoundingClientRect();
        const top = box.top + ((values.length - 1 - y) * box.height) / values.length;
        const left = box.left + (x * box.width) / columns.length;
        tell(text, { left, top, bottom: top + box.height / values.length }, aloud, map, "read");
      },
    },
    prompt: {
      size: (prompt) => [all("i", prompt).length, 1],
      under(prompt, event) {
        const token = event.target.closest("i");
        return token ? [all("i", prompt).indexOf(token), 0] : null;
      },
      read(prompt, [x], aloud) {
        const { spans, shades } = dataOf(prompt, "prompt");
        const token = all("i", prompt)[x];
        const roles = Object.keys(spans).filter((role) => inside(spans, role, x));
        const values = Object.entries(shades).map(([name, each]) => `${name}: ${said(each[x])}`);
        const text = [`token ${x} ${quoted(tokensOf(prompt)[x])}`, ...values,
          roles.join(", ").replaceAll("_", " ")].join("\n");
        tell(text, token.getBoundingClientRect(), aloud, token, "reading");
      },
    },
    plot: {
      size: (plot) => [all("title", plot).length, 1],
      under: () => null,
      read(plot, [x], aloud) {
        const name = all("title", plot)[x];
        const mark = name.parentElement;
        tell(name.textContent, mark.getBoundingClientRect(), aloud, mark, "reading");
      },
    },
  };
  const kindOf = (element) => Object.keys(figures).find((kind) => element.classList.contains(kind));
  const cursors = new WeakMap();

  function read(element, at, aloud) {
    cursors.set(element, at);
    figures[kindOf(element)].read(element, at, aloud);
  }

  for (const kind of ["pointermove", "pointerdown"]) {
    document.addEventListener(kind, (event) => {
      const element = event.target.closest(".map, .prompt");
      const at = element && figures[kindOf(element)].under(element, event);
      if (at) read(element, at, false);
      else hideTip();
    });
  }
  // What scrolled before a value was read may be told of after it.
  addEventListener("scroll", () => { if (place() !== told) hideTip(); }, { passive: true });
  find("#main").addEventListener("focusout", hideTip);
  find("#main").addEventListener("keydown", (event) => {
    const element = event.target.closest(".map, .prompt, .plot");
    const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const edges = { Home: 0, End: Infinity };
    const move = moves[event.key];
    if (event.target !== element || !(move || event.key in edges)) return;
    event.preventDefault();
    const [wide, high] = figures[kindOf(element)].size(element);
    const [x, y] = cursors.get(element) ?? [move ? -move[0] : 0, move ? -move[1] : 0];
    const within = (value, n) => Math.max(0, Math.min(n - 1, value));
    if (wide * high === 0) return;
    const next = move ? [x + move[0], y + move[1]] : [edges[event.key], y];
    read(element, [within(next[0], wide), within(next[1], high)], true);
  });

  // --- Copying, and keys that work everywhere.

  async function copy(button) {
    const text = find("code", button.parentElement).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Not every browser lets a page from a file write there: leave it selected.
      getSelection().selectAllChildren(find("code", button.parentElement));
      button.textContent = "Selected";
    }
    find("#said").textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) copy(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input[type=search]");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      if (open.id !== "overview") location.hash = "#overview";
      show();
      search.focus();
      search.select();
    } else if (event.key === "Escape") {
      if (!tip.hidden) hideTip();
      else if (typing && search.value) { search.value = ""; filter(); }
      else if (open.classList.contains("case")) location.hash = "#checks";
    }
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest('main a[href^="#case-"]');
    if (link && !link.closest(".case")) followed = link;
  });
  addEventListener("hashchange", show);
  filter();
  show();
});
