// A map of the images of one aspect: a point each, in the colour of its group.
const HUES = [
  "#3b73d9",
  "#e07b1a",
  "#2f9e5b",
  "#d64550",
  "#8a63d2",
  "#a8703f",
  "#d667a8",
  "#7c828c",
  "#a8a41e",
  "#1fa7b8",
];
const colour = (n) => (n < HUES.length ? HUES[n] : `hsl(${Math.round(n * 137.5) % 360} 60% 52%)`);
const NEAR = 14,
  MARGIN = 24;

class Plot {
  constructor(host) {
    this.canvas = make("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "map",
      "aria-label": `Map of ${open().name}: arrow keys go from image to image, space selects, a drawn frame selects all within it`,
    });
    this.legend = make("div", { class: "legend", role: "group", "aria-label": "Groups on the map" });
    host.append(
      make(
        "p",
        { class: "quiet" },
        "A point is an image, its colour the group. The axes are the first two principal axes of the rows that k-means " +
          "ran on: far points differ in them, near ones may differ in what is not drawn. Click a point to select it, " +
          "drag a frame for many.",
      ),
      make("div", { class: "map" }, this.canvas, this.legend),
    );
    this.at = null;
    this.frame = null;
    this.listen();
    this.refresh();
  }

  listen() {
    const { canvas } = this,
      at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.frame = [...at(event), ...at(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.frame) [this.frame[2], this.frame[3]] = at(event);
      else this.point(this.nearest(...at(event)));
      this.draw();
    });
    canvas.addEventListener("pointerup", () => this.release());
    canvas.addEventListener("pointercancel", () => {
      this.frame = null;
      this.draw();
    });
    canvas.addEventListener("pointerleave", () => {
      if (!this.frame) this.point(null);
      this.draw();
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.point(null);
      this.draw();
    });
  }

  // After an edit or a change of size: where each point is, and its colour.
  refresh() {
    const { x, y } = open().map,
      found = current(),
      wide = this.canvas.clientWidth,
      high = this.canvas.clientHeight;
    const scale = window.devicePixelRatio || 1,
      most = (values) => values.reduce((a, b) => Math.max(a, b), 1);
    Object.assign(this.canvas, { width: wide * scale, height: high * scale });
    const size = Math.min((wide - 2 * MARGIN) / most(x), (high - 2 * MARGIN) / most(y));
    const left = (wide - size * most(x)) / 2,
      top = (high - size * most(y)) / 2;
    this.x = Float32Array.from(x, (each) => left + size * each);
    this.y = Float32Array.from(y, (each) => high - top - size * each);
    this.paints = new Map(found.groups.map((group, n) => [group.id, colour(n)]));
    this.paints.set(LEFT, "#9097a3");
    this.entries(found);
    this.draw();
  }

  entries(found) {
    const rows = found.groups.map((group) => [group.id, group.name, group.size]);
    if (found.left.size) rows.push([LEFT, LEFT_NAME, found.left.size]);
    this.legend.replaceChildren(
      ...rows.map(([id, name, size]) => {
        const mark = make("i");
        mark.style.background = this.paints.get(id);
        return make(
          "button",
          {
            type: "button",
            "aria-pressed": state.only === id,
            title: "Show this group alone",
            onclick: () => {
              state.only = state.only === id ? null : id;
              this.entries(found);
              this.draw();
            },
          },
          mark,
          `${name} (${size.toLocaleString("en")})`,
        );
      }),
    );
  }

  draw() {
    const { canvas } = this,
      brush = canvas.getContext("2d"),
      scale = window.devicePixelRatio || 1;
    const { labels } = current(),
      style = getComputedStyle(document.body),
      side = labels.length > 3000 ? 4 : 6;
    brush.setTransform(scale, 0, 0, scale, 0, 0);
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.globalAlpha = 0.8;
    for (const [id, paint] of this.paints) {
      if (state.only !== null && state.only !== id) continue;
      brush.fillStyle = paint;
      for (let i = 0; i < labels.length; i++) {
        if (labels[i] === id) brush.fillRect(this.x[i] - side / 2, this.y[i] - side / 2, side, side);
      }
    }
    brush.globalAlpha = 1;
    brush.strokeStyle = style.color;
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

  seen(i) {
    return state.only === null || current().labels[i] === state.only;
  }

  nearest(x, y, least = NEAR) {
    let best = null;
    for (let i = 0; i < this.x.length; i++) {
      const far = Math.hypot(this.x[i] - x, this.y[i] - y);
      if (far < least && this.seen(i)) [best, least] = [i, far];
    }
    return best;
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
      const all = Array.from(this.x.keys()).filter(
        (i) => this.seen(i) && inside(this.x[i], a, c) && inside(this.y[i], b, d),
      );
      select(all, true);
    }
    this.draw();
  }

  key(event) {
    const [right, down] =
      { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [];
    if (right !== undefined) {
      const to =
        this.at === null
          ? this.nearest(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2, Infinity)
          : this.beside(right, down);
      if (to !== null) {
        this.point(to);
        say(`${data.names[to]}, ${groupName(state.aspect, to)}`);
      }
    } else if ((event.key === " " || event.key === "Enter") && this.at !== null) select([this.at]);
    else return;
    event.preventDefault();
    this.draw();
  }

  // The nearest point in a direction: what lies aside counts three times.
  beside(right, down) {
    let best = null,
      least = Infinity;
    for (let i = 0; i < this.x.length; i++) {
      const x = this.x[i] - this.x[this.at],
        y = this.y[i] - this.y[this.at];
      const ahead = x * right + y * down,
        aside = Math.abs(x * down) + Math.abs(y * right);
      if (ahead > 0.5 && ahead >= aside && ahead + 3 * aside < least && this.seen(i))
        [best, least] = [i, ahead + 3 * aside];
    }
    return best;
  }
}
