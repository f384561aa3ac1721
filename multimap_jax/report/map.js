// A map of the images of one aspect: one point an image, in the color of its group.
const HUES = {
  blue: "#3b73d9", orange: "#e07b1a", green: "#2f9e5b", red: "#d64550", purple: "#8a63d2", brown: "#a8703f",
  pink: "#d667a8", turquoise: "#1fa7b8", yellow: "#d9b400", gray: "#7c828c", navy: "#26347f", gold: "#b8901f",
  beige: "#d8c6a0", silver: "#c3c8d0", white: "#ffffff", black: "#000000",
};
const SAME = { grey: "gray", violet: "purple", cyan: "turquoise", teal: "turquoise", magenta: "pink" };
const NEAR = { blue: "navy", yellow: "gold", gray: "silver" };
const FREE = 10; // the first hues, for groups whose names say no color
const OUTLINED = [HUES.navy, HUES.beige, HUES.silver, HUES.white, HUES.black]; // else lost on a background
const OUTLINE = "#808792"; // seen on both backgrounds, as in style.css; of unassigned images, too, which are smaller
const PALE = ["beige", "silver", "white", "yellow"];

// A color for each name: the one that it begins with, in another shade where several do; for other names those left.
function paints(names) {
  const used = new Map();
  const said = names.map((name) => {
    const [, shade, word] = name.toLowerCase().match(/^(?:(dark|deep|light|bright|pale) )?(\p{L}+)/u) ?? [];
    const hue = Object.hasOwn(SAME, word) ? SAME[word] : word;
    if (!Object.hasOwn(HUES, hue)) return null;
    const before = used.get(hue) ?? 0;
    used.set(hue, before + 1);
    const share = 100 - 100 / (1 + before / 2);
    const darker = PALE.includes(hue) || ["dark", "deep"].includes(shade);
    return before ? `color-mix(in srgb, ${HUES[hue]}, ${darker ? "black" : "white"} ${share}%)` : HUES[hue];
  });
  const free = Object.keys(HUES).slice(0, FREE);
  const left = free.filter((hue) => !used.has(hue) && !used.has(NEAR[hue]));
  const other = (n) => (n < left.length ? HUES[left[n]] : `hsl(${Math.round(n * 137.5) % 360} 60% 52%)`);
  let n = 0;
  return said.map((color) => color ?? other(n++));
}

const REACH = 14; // pixels from the pointer to a point that it touches
const MARGIN = 24; // pixels around the points
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

class Plot {
  constructor(host) {
    this.canvas = make("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "map",
      "aria-label": `Map of ${open().name}. Arrow keys move between images, space selects one, dragging a frame selects several.`,
    });
    this.legend = make("div", { class: "legend", role: "group", "aria-label": "Groups on the map" });
    const help =
      "Each point is an image, in the color of its group. Images far apart are different. Images close together may " +
      "still differ, because the map shows only two dimensions (the first two principal components). Click a point " +
      "to select it, or drag a frame around several.";
    host.append(quiet(help), make("div", { class: "map" }, this.canvas, this.legend));
    this.at = this.frame = null;
    this.listen();
    this.refresh();
  }

  listen() {
    const on = (name, listener) =>
      this.canvas.addEventListener(name, (event) => {
        listener(event, [event.offsetX, event.offsetY]);
        this.draw();
      });
    on("pointerdown", (event, position) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.frame = [...position, ...position];
    });
    on("pointermove", (_, position) => {
      if (this.frame) this.frame.splice(2, 2, ...position);
      else this.point(this.nearest(...position));
    });
    on("pointerup", () => this.release());
    on("pointercancel", () => (this.frame = null));
    on("pointerleave", () => this.frame || this.point(null));
    on("keydown", (event) => this.key(event));
    on("blur", () => this.point(null));
  }

  // Computes the position and color of each point, after an edit or a change of size.
  refresh() {
    const { x, y } = open().map;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: width * scale, height: height * scale });
    const [right, top] = [x, y].map((values) => values.reduce((a, b) => Math.max(a, b), 1));
    const size = Math.min((width - 2 * MARGIN) / right, (height - 2 * MARGIN) / top);
    this.x = Float32Array.from(x, (value) => (width - size * right) / 2 + size * value);
    this.y = Float32Array.from(y, (value) => (height + size * top) / 2 - size * value);
    const { groups } = current();
    const colors = paints(groups.map((group) => group.name));
    this.paints = new Map([[UNASSIGNED, OUTLINE], ...groups.map((group, n) => [group.id, colors[n]])]);
    this.showLegend();
    this.draw();
  }

  showLegend() {
    const { groups, unassigned } = current();
    const rows = groups.map(({ id, name, size }) => [id, name, size]);
    if (unassigned.size) rows.push([UNASSIGNED, UNASSIGNED_NAME, unassigned.size]);
    const entry = ([id, name, size]) => {
      const toggle = () => {
        state.only = state.only === id ? null : id;
        this.showLegend();
        this.draw();
      };
      const element = button(`${name} (${decimal(size)})`, toggle, {
        "aria-pressed": state.only === id,
        title: "Show only these images",
      });
      const mark = make("i");
      mark.style.background = this.paints.get(id);
      if (OUTLINED.includes(this.paints.get(id))) mark.className = "outlined";
      if (id === UNASSIGNED) mark.className = "unassigned";
      element.prepend(mark);
      return element;
    };
    this.legend.replaceChildren(...rows.map(entry));
  }

  draw() {
    const { labels } = current();
    const brush = this.canvas.getContext("2d");
    const scale = window.devicePixelRatio || 1;
    const side = labels.length > 3000 ? 4 : 6;
    brush.setTransform(scale, 0, 0, scale, 0, 0);
    brush.clearRect(0, 0, this.canvas.width, this.canvas.height);
    brush.globalAlpha = 0.8;
    brush.strokeStyle = OUTLINE;
    brush.lineWidth = 1;
    for (const [id, paint] of this.paints) {
      if (state.only !== null && state.only !== id) continue;
      brush.fillStyle = paint;
      const size = id === UNASSIGNED ? side / 2 : side;
      for (let i = 0; i < labels.length; i++) {
        if (labels[i] !== id) continue;
        const square = [this.x[i] - size / 2, this.y[i] - size / 2, size, size];
        brush.fillRect(...square);
        if (OUTLINED.includes(paint)) brush.strokeRect(...square);
      }
    }
    brush.globalAlpha = 1;
    brush.strokeStyle = getComputedStyle(document.body).color;
    brush.lineWidth = 2;
    for (const i of state.selected)
      brush.strokeRect(this.x[i] - side / 2 - 1, this.y[i] - side / 2 - 1, side + 2, side + 2);
    if (this.at !== null) {
      brush.beginPath();
      brush.arc(this.x[this.at], this.y[this.at], 9, 0, 7);
      brush.stroke();
    }
    if (this.frame) {
      const [a, b, c, d] = this.frame;
      brush.setLineDash([5, 4]);
      brush.strokeRect(a, b, c - a, d - b);
      brush.setLineDash([]);
    }
  }

  isShown(i) {
    return state.only === null || current().labels[i] === state.only;
  }

  // The shown point of the least cost below `limit`, null for none. cost: (x, y) -> number.
  best(cost, limit) {
    let found = null;
    for (let i = 0; i < this.x.length; i++) {
      const value = cost(this.x[i], this.y[i]);
      if (value < limit && this.isShown(i)) [found, limit] = [i, value];
    }
    return found;
  }

  nearest(x, y, limit = REACH) {
    return this.best((a, b) => Math.hypot(a - x, b - y), limit);
  }

  // The nearest point in a direction; distance to the side counts three times.
  neighbour(right, down) {
    const [x, y] = [this.x[this.at], this.y[this.at]];
    return this.best((a, b) => {
      const ahead = (a - x) * right + (b - y) * down;
      const aside = Math.abs((a - x) * down) + Math.abs((b - y) * right);
      return ahead > 0.5 && ahead >= aside ? ahead + 3 * aside : Infinity;
    }, Infinity);
  }

  point(i) {
    if (i === this.at) return;
    this.at = i;
    showDetails(i);
  }

  release() {
    const [a, b, c, d] = this.frame ?? [0, 0, 0, 0];
    this.frame = null;
    if (Math.hypot(c - a, d - b) < 5) {
      const i = this.nearest(c, d);
      if (i !== null) select([i]);
    } else {
      const inside = (value, one, other) => value >= Math.min(one, other) && value <= Math.max(one, other);
      const framed = (i) => this.isShown(i) && inside(this.x[i], a, c) && inside(this.y[i], b, d);
      select(Array.from(this.x.keys()).filter(framed), true);
    }
  }

  key(event) {
    if (event.key in ARROWS) {
      const { clientWidth, clientHeight } = this.canvas;
      const start = () => this.nearest(clientWidth / 2, clientHeight / 2, Infinity);
      const to = this.at === null ? start() : this.neighbour(...ARROWS[event.key]);
      if (to !== null) {
        this.point(to);
        announce(`${data.names[to]}, ${groupName(state.aspect, to)}`);
      }
    } else if ((event.key === " " || event.key === "Enter") && this.at !== null) select([this.at]);
    else return;
    event.preventDefault();
  }
}
