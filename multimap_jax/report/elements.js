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
  element.append(
    ...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))),
  );
  return element;
}

const lost = new Set(data.lost);
function source(i) {
  if (lost.has(i)) return null;
  return data.folder ? `${data.folder}/${i}.jpg` : `data:image/jpeg;base64,${data.pictures[i]}`;
}

// A picture that does not come, where the folder of pictures is elsewhere, becomes the image's name.
function picture(i) {
  const from = source(i);
  const name = make("span", {}, data.names[i]);
  if (!from) return name;
  return make("img", {
    src: from,
    alt: "",
    decoding: "async",
    draggable: "false",
    onerror: (event) => event.target.replaceWith(name),
  });
}

function say(text) {
  $("said").textContent = text;
}

// One tab of each list is in the order of Tab; arrows go to the others.
function tabs(host, items, chosen, choose) {
  host.replaceChildren(
    ...items.map(([key, text]) =>
      make(
        "button",
        {
          type: "button",
          role: "tab",
          id: `${host.id}-${key}`,
          "aria-selected": key === chosen,
          "aria-controls": "view",
          tabindex: key === chosen ? 0 : -1,
          onclick: () => choose(key),
        },
        text,
      ),
    ),
  );
  host.onkeydown = (event) => {
    const keys = items.map(([key]) => key),
      at = keys.indexOf(chosen),
      last = keys.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    choose(keys[to]);
    $(`${host.id}-${keys[to]}`).focus();
  };
}

// digits: of numbers; those that are whole have none where that is null.
function table(columns, rows, chosen = [], digits = null) {
  const cell = (value) =>
    typeof value === "number"
      ? make(
          "td",
          { class: "number" },
          digits === null && Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(digits ?? 3),
        )
      : make(
          "td",
          {},
          value === null || value === undefined ? "" : value === true ? "yes" : value === false ? "no" : value,
        );
  const head = make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column)));
  const body = rows.map((row, i) => make("tr", { class: chosen.includes(i) ? "chosen" : null }, ...row.map(cell)));
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

// What is known of one image, in a corner.
function showDetails(i) {
  const box = $("details");
  box.hidden = i === null;
  if (i === null) return;
  const lines = data.aspects.map((aspect, index) => `${aspect.name}: ${groupName(index, i)}`);
  const aspect = open(),
    distance = aspect.distances[i];
  if (aspect.sure && aspect.sure[i] !== null) lines.push(`${Math.round(100 * aspect.sure[i])}% sure`);
  if (distance !== null) lines.push(`distance ${distance.toFixed(3)}${isFar(i) ? ", an outlier" : ""}`);
  box.replaceChildren(
    picture(i),
    make("div", {}, make("p", {}, make("strong", {}, data.names[i])), ...lines.map((line) => make("p", {}, line))),
  );
}
