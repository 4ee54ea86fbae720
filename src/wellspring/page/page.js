"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  // Theme: as the system has it, until the reader chooses.
  const button = document.getElementById("theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = [];
  const remembered = () => { try { return localStorage.getItem("wellspring-theme"); } catch { return null; } };
  const show = (theme) => {
    root.dataset.theme = theme;
    button.setAttribute("aria-pressed", String(theme === "dark"));
    drawn.forEach((draw) => draw());
  };
  show(remembered() || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => { if (!remembered()) show(dark.matches ? "dark" : "light"); });
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("wellspring-theme", theme); } catch { /* the choice lasts as long as the page */ }
    show(theme);
  });

  // Contents: which section is read.
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  all("main > section").forEach((section) => seen.observe(section));

  // The table of probes: choices hide rows.
  const form = document.getElementById("filter");
  if (form) {
    const rows = all("#summary tbody tr");
    const last = new Map();
    for (const { dataset } of rows) {
      const key = `${dataset.dataset} ${dataset.retriever}`;
      if (dataset.layer !== "any") last.set(key, Math.max(last.get(key) ?? 0, Number(dataset.layer)));
    }
    const filter = () => {
      const chosen = all("select", form).map((each) => [each.dataset.column, each.value]);
      let shown = 0;
      for (const row of rows) {
        const { dataset } = row;
        row.hidden = !chosen.every(([column, value]) =>
          value === "" || (column === "layer" && dataset.layer === "any") || dataset[column] ===
          (value === "last" ? String(last.get(`${dataset.dataset} ${dataset.retriever}`)) : value));
        shown += row.hidden ? 0 : 1;
      }
      document.getElementById("filter-count").textContent = `${shown} of ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    };
    form.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // Panels: choices set signals of the chart and filter the table beside it.
  const MOST = 300;
  const decode = ({ length, columns }) => {
    const rows = Array.from({ length }, () => ({}));
    for (const [name, { codes, values }] of Object.entries(columns))
      rows.forEach((row, at) => { row[name] = codes ? values[codes[at]] : values[at]; });
    return rows;
  };
  const text = (value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
    const size = Math.abs(value);
    const digits = size >= 100 ? 1 : size >= 0.001 ? 3 : 6;
    return value.toFixed(digits).replace("-", "−");
  };
  const themes = JSON.parse(document.getElementById("themes")?.textContent ?? "{}");
  const look = () => ({ ...themes[root.dataset.theme], font: getComputedStyle(document.body).fontFamily });
  const views = window.wellspring = { views: {} };
  const built = new Set();
  const build = (panel) => {
    if (built.has(panel)) return;
    built.add(panel);
    const { chart, columns, data } = JSON.parse(panel.querySelector("script.data").textContent);
    const rows = decode(data);
    const place = panel.querySelector(".chart > div");
    const selects = all("select", panel);
    const fixed = all("[data-fixed]", panel);
    const chosen = () => [...selects, ...fixed].map((each) => [each.dataset.column, each.value ?? each.dataset.fixed]);
    let view = null;
    const tabulate = () => {
      const kept = rows.filter((row) => chosen().every(([column, value]) => String(row[column]) === value));
      panel.querySelector("tbody").replaceChildren(...kept.slice(0, MOST).map((row) => {
        const line = document.createElement("tr");
        for (const column of columns) {
          const cell = document.createElement("td");
          cell.textContent = text(row[column]);
          line.append(cell);
        }
        return line;
      }));
      const more = kept.length > MOST ? `, the first ${MOST} of them here; the file has all` : "";
      panel.querySelector(".count").textContent = kept.length ? `${kept.length} ${kept.length === 1 ? "row" : "rows"}${more}` : "no rows for this choice";
    };
    const draw = async () => {
      const params = chart.params?.map((param) => ({ ...param, value: Object.fromEntries(chosen())[param.name] ?? param.value }));
      const spec = { ...chart, params, datasets: { panel: rows }, config: look() };
      const embedded = await vegaEmbed(place, spec, { actions: false, defaultStyle: false, renderer: "svg" });
      // The place has a name, and the table has the numbers.
      place.querySelector("svg").setAttribute("aria-hidden", "true");
      view?.finalize();
      view = views.views[panel.id] = embedded.view;
      panel.dataset.ready = "true";
    };
    const choose = async () => {
      if (!view) return;
      for (const [column, value] of chosen()) view.signal(column, value);
      await view.runAsync();
    };
    selects.forEach((select) => select.addEventListener("change", () => { tabulate(); choose(); }));
    tabulate();
    draw();
    drawn.push(draw);
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); build(entry.target); }
  }, { rootMargin: "600px 0px" });
  const panels = all(".panel");
  panels.forEach((panel) => near.observe(panel));
  window.addEventListener("beforeprint", () => {
    panels.forEach(build);
    all("details.numbers").forEach((each) => { each.open = true; });
  });
})();
