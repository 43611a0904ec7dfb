// Keeps the page as it is: the server tells which cells have changed, and this sets their text.
// Where the page has another structure it is loaded anew. Nothing here makes markup of data.

const main = document.getElementById("main");
const STEERED = "rgb(128 128 128 / 0.25)";
const COLOURS = ["#d1242f", "#0969da", "#8250df", "#bf8700", "#1a7f37", "#bc4c00", "#57606a"];

function ages() {
  const now = Date.now();
  const asOf = main.querySelector('[data-k="time"]');
  if (asOf && !asOf.dateTime) asOf.dateTime = asOf.textContent;
  for (const time of main.querySelectorAll("time[datetime]")) {
    const seconds = Math.max(0, (now - Date.parse(time.dateTime)) / 1000);
    const [size, unit] =
      seconds >= 86400 ? [86400, "d"] : seconds >= 3600 ? [3600, "h"] : seconds >= 60 ? [60, "min"] : [1, "s"];
    time.dataset.at ??= time.textContent;
    const away = Date.parse(time.dateTime) - now;
    time.textContent = away > 1000 ? time.dataset.at : `${time.dataset.at} (${Math.floor(seconds / size)} ${unit} ago)`;
  }
}

function filter() {
  const table = [...main.querySelectorAll("section")].find(
    (one) => one.querySelector("h2")?.textContent === "Events",
  )?.querySelector(".wide");
  if (!table) return;
  const label = document.createElement("label");
  label.className = "filter";
  label.textContent = "Show events with ";
  const input = document.createElement("input");
  input.type = "search";
  input.id = "filter";
  input.value = sessionStorage.getItem("filter") ?? "";
  const apply = () => {
    sessionStorage.setItem("filter", input.value);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.querySelectorAll("tbody tr")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };
  input.addEventListener("input", apply);
  label.append(input);
  table.before(label);
  apply();
}

let plotted;
function plot() {
  plotted?.destroy(); // it keeps listeners of the window otherwise
  plotted = undefined;
  const place = document.getElementById("plot");
  if (!place || !globalThis.uPlot) return;
  const { times, upstreams } = JSON.parse(place.dataset.points);
  if (times.length < 2) {
    place.textContent = "The plot begins with the second point, within ten minutes.";
    return;
  }
  const ink = getComputedStyle(document.body).color;
  const names = Object.keys(upstreams);
  const shade = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = STEERED;
    times.forEach((time, at) => {
      if (at && names.some((name) => upstreams[name].steered[at])) {
        const from = u.valToPos(times[at - 1], "x", true);
        ctx.fillRect(from, bbox.top, u.valToPos(time, "x", true) - from, bbox.height);
      }
    });
    ctx.restore();
  };
  const percent = (value) => (value == null ? "-" : `${(100 * value).toFixed(1)}%`);
  plotted = new uPlot(
    {
      width: Math.min(place.clientWidth || 800, 1200),
      height: 200,
      scales: { y: { range: (_, __, most) => [0, Math.max(most ?? 0, 0.01)] } },
      axes: [{ stroke: ink }, { stroke: ink, size: 60, values: (_, ticks) => ticks.map(percent) }],
      hooks: { drawClear: [shade] },
      series: [
        {},
        ...names.map((name, at) => ({
          label: name, stroke: COLOURS[at % COLOURS.length], width: 2, value: (_, v) => percent(v),
          dash: at % 2 ? [6, 3] : undefined,
        })),
      ],
    },
    [times, ...names.map((name) => upstreams[name].share)],
    place,
  );
}

function set(cells) {
  for (const [key, [text, state]] of Object.entries(cells)) {
    const cell = main.querySelector(`[data-k="${CSS.escape(key)}"]`);
    if (!cell) continue;
    if (cell.tagName === "TIME") {
      cell.dateTime = text;
      delete cell.dataset.at;
    }
    cell.textContent = text;
    if (state) cell.dataset.s = state;
    else delete cell.dataset.s;
    if (key === "word") document.title = document.title.replace(/^.* - /, `${text} - `);
  }
}

let loading = false;
let latest = { structure: "", cells: {} }; // all that was told, for what comes while it is loaded
async function load() {
  if (loading) return;
  loading = true;
  try {
    const answer = await fetch("/", { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = [...main.querySelectorAll("details")].map((one) => one.open);
    const focused = document.activeElement?.id;
    main.replaceChildren(...fresh.getElementById("main").childNodes);
    main.dataset.structure = fresh.getElementById("main").dataset.structure;
    document.title = fresh.title;
    main.querySelectorAll("details").forEach((one, at) => (one.open = open[at] ?? false));
    begin();
    if (main.dataset.structure === latest.structure) set(latest.cells);
    if (focused) document.getElementById(focused)?.focus();
  } finally {
    loading = false;
  }
}

function begin() {
  filter();
  plot();
  ages();
}

const SILENT = 10_000; // milliseconds; a message comes every second
const note = document.createElement("p");
note.className = "stopped";
note.setAttribute("role", "status");
note.textContent = "No word from the agent: this page may be out of date.";
let heard = Date.now();

function watch() {
  const source = new EventSource("/events");
  source.onmessage = (message) => {
    heard = Date.now();
    note.remove();
    const { structure, cells } = JSON.parse(message.data);
    latest = { structure, cells: structure === latest.structure ? { ...latest.cells, ...cells } : cells };
    if (structure !== main.dataset.structure) load();
    else set(cells);
    ages();
  };
  source.onerror = () => {
    main.before(note);
    // After an answer that is no stream, as a proxy's in a restart, the browser gives up.
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
  };
}

function tick() {
  ages();
  if (main.dataset.structure && Date.now() - heard > SILENT) main.before(note);
}

begin();
if (main.dataset.structure) watch();
setInterval(tick, 1000);
