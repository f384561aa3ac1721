// Elements are made by hand: whatever a user named is text, and never markup.
const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined)); // what is no element is text
  return element;
}

const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);
const paragraph = (...children) => make("p", {}, ...children.flatMap(withFlags));
const quiet = (text) => make("p", { class: "quiet" }, text);

// Parts of a text, with the flags in it as elements that are not broken into lines.
function withFlags(text) {
  if (typeof text !== "string") return [text];
  const flag = (part, at) => (at % 2 ? make("span", { class: "flag" }, part) : part);
  return text.split(/(--\w[^\s,;.]*)/).map(flag);
}

// A note, or with a class a warning; of a long one only the beginning, until it is opened, where the screen is narrow.
function note(text, kind = null) {
  const beginning = /^.{60,80}(?=\s)/s.exec(text);
  if (text.length < 120 || !beginning || !window.matchMedia("(max-width: 48rem)").matches)
    return make("p", { class: kind }, ...withFlags(text));
  return make("details", { class: kind }, make("summary", {}, `${beginning[0]} …`), ...withFlags(text));
}

// A command, in lines that are not broken within its words.
function command(text) {
  const words = text.split(" ").flatMap((word) => [make("span", {}, word), " "]);
  return make("pre", { tabindex: 0, "aria-label": "Command" }, ...words.slice(0, -1));
}

const option = (value, text, selected) => make("option", { value, selected }, text);

const lost = new Set(data.lost);
function source(i) {
  if (lost.has(i)) return null;
  return data.folder ? `${data.folder}/${i}.jpg` : `data:image/jpeg;base64,${data.pictures[i]}`;
}

// The address of an image's own file, null where it is not known. A name has \\ for a backslash, \xNN for other bytes.
function originalAddress(i) {
  if (!data.originals) return null;
  const written = (part, byte) => (byte ? `%${byte}` : encodeURIComponent(part[0] === "\\" ? "\\" : part));
  return `${data.originals}/${data.names[i].replace(/\\\\|\\x(..)|[^\\/]+/g, written)}`;
}

// A picture; the image's name where it cannot be loaded, because the folder of pictures is missing. later: whether the
// browser may wait with one of that folder until it is near the window.
function picture(i, later = false) {
  const src = source(i);
  const name = make("span", {}, data.names[i]);
  const onerror = (event) => event.target.replaceWith(name);
  const loading = later && data.folder ? "lazy" : null;
  return src ? make("img", { loading, src, alt: "", decoding: "async", draggable: "false", onerror }) : name;
}

function announce(text) {
  $("said").textContent = text;
}

// Tab reaches one tab of a list; arrows go to the others.
function tabs(host, items, chosen, choose) {
  const tab = ([key, text]) =>
    button(text, () => choose(key), {
      role: "tab",
      id: `${host.id}-${key}`,
      "aria-selected": key === chosen,
      "aria-controls": "view",
      tabindex: key === chosen ? 0 : -1,
    });
  host.replaceChildren(...items.map(tab));
  const { offsetLeft, offsetWidth } = host.querySelector("[aria-selected=true]");
  host.scrollLeft = offsetLeft + (offsetWidth - host.clientWidth) / 2; // where the tabs are wider than the screen
  host.onkeydown = (event) => {
    const keys = items.map(([key]) => key);
    const at = keys.indexOf(chosen);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 };
    if (!(event.key in steps)) return;
    const key = keys.at(steps[event.key] % keys.length);
    event.preventDefault();
    choose(key);
    $(`${host.id}-${key}`).focus();
  };
}

const isNumeric = (value) => typeof value === "number" || /^[\d.]+%$/.test(value);

// digits: of numbers; null writes columns of whole numbers without any. A cell may be an element.
function table(columns, rows, { chosen = [], digits = null, type = null } = {}) {
  const isWhole = columns.map((_, at) => digits === null && rows.every((row) => Number.isInteger(row[at] ?? 0)));
  const cell = (value, at) => {
    if (value instanceof Node) return value;
    if (typeof value === "boolean") return make("td", {}, value ? "yes" : "no");
    if (typeof value !== "number") return make("td", { class: isNumeric(value) ? "number" : null }, value);
    return make("td", { class: "number" }, isWhole[at] ? decimal(value) : value.toFixed(digits ?? 3));
  };
  const heading = (column, at) =>
    make("th", { scope: "col", class: isNumeric(rows[0]?.[at]) ? "number" : null }, column);
  const head = make("tr", {}, ...columns.map(heading));
  const body = rows.map((row, i) => make("tr", { class: chosen.includes(i) ? "chosen" : null }, ...row.map(cell)));
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" },
    make("table", { class: type }, make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

// What a model said of an image, "" where none was asked or the image is in no group for a reason, which is shown.
function answerText({ answers }, i) {
  const text = i in (answers?.reasons ?? {}) ? "" : answers?.texts[answers.index[i]];
  return text ? ` (answer of the model ${answers.model}: ${text})` : "";
}

// Facts about one image, in a corner.
function showDetails(i) {
  const box = $("details");
  box.hidden = i === null;
  if (i === null) return;
  const { distances } = open();
  const confidence = current().confidences?.[i];
  const lines = data.aspects.map((aspect, index) => `${aspect.name}: ${groupName(index, i)}${answerText(aspect, i)}`);
  const reason = current().labels[i] === UNASSIGNED ? open().answers?.reasons[i] : undefined;
  if (reason) lines.push(`not grouped: ${reason}`);
  else if (confidence === null) lines.push("moved by hand");
  else if (confidence !== undefined) lines.push(`confidence ${confidence.toFixed(2)}`);
  if (distances[i] !== null && !reason) {
    lines.push(`distance to the middle of its group ${distances[i].toFixed(3)} (smaller is more typical)`);
  }
  if (isOutlier(i)) lines.push("an outlier");
  const name = paragraph(make("strong", {}, data.names[i]));
  box.replaceChildren(picture(i), make("div", {}, name, ...lines.map((line) => paragraph(line))));
}
