// Where a search begins: photos by category, by words of their title or by chance, and the dataset's queries.

import {get, remember} from "./api.js";
import {by, count, element, frame, named} from "./view.js";

const PAGE = 48;

export class Picker {
  constructor(categories, splits, {pick, ask, fail}) {
    this.pick = pick;
    this.ask = ask;
    this.fail = fail;
    this.split = (splits.find(one => one.split === "val") || splits.at(-1))?.split;
    this.category = "";
    this.seed = 0;
    this.queries = false;
    this.chips(categories);
    let waiting;
    by("find").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.open(), 200);
    });
    by("more").addEventListener("click", () => this.fill(this.shown));
    by("of-photos").addEventListener("click", () => this.choose(false));
    by("of-queries").addEventListener("click", () => this.choose(true));
    by("of-queries").hidden = !splits.length;
  }

  chips(categories) {
    const every = [{name: "", images: null}, ...categories];
    by("categories").replaceChildren(...every.map(({name, images}) => element("li", {}, element("button", {
      type: "button", class: "word", "data-name": name, "aria-pressed": String(name === this.category),
      onclick: () => this.choose(this.queries, name),
    }, name ? `${name} ${images.toLocaleString("en")}` : "all"))));
  }

  choose(queries, category = this.category) {
    this.queries = queries;
    this.category = category;
    by("find").labels[0].firstChild.textContent = queries ? "Find by words of the change" : "Find by words of the title";
    by("of-photos").setAttribute("aria-pressed", String(!queries));
    by("of-queries").setAttribute("aria-pressed", String(queries));
    for (const chip of by("categories").querySelectorAll("button")) {
      chip.setAttribute("aria-pressed", String(chip.dataset.name === category));
    }
    this.open();
  }

  /** Shows the first photos or queries that fit. */
  open(seed = this.seed) {
    this.seed = seed;
    by("picker").hidden = false;
    by("found").replaceChildren();
    return this.fill(0);
  }

  close() {
    by("picker").hidden = true;
  }

  async fill(offset) {
    const asked = {category: this.category, text: by("find").value.slice(0, 200), offset, count: PAGE};
    this.asked = asked;
    try {
      const page = await (this.queries ? get("queries", {...asked, split: this.split}) : get("images", {...asked, seed: this.seed || null}));
      if (this.asked === asked) this.add(page, offset);
    } catch (fault) {
      this.fail(fault);
    }
  }

  add(page, offset) {
    const items = this.queries ? page.queries.map(one => this.query(one)) : page.images.map(one => this.photo(one));
    by("found").append(...items);
    this.shown = offset + items.length;
    by("more").hidden = this.shown >= page.total;
    by("status").textContent = count(page.total, this.queries ? "query" : "photo").replace("querys", "queries");
  }

  photo(image) {
    remember(image);
    return element("li", {"data-id": image.id},
      frame(image, 240, {label: `Begin with ${named(image)}`, onclick: () => this.pick(image)}),
      element("div", {class: "said"}, element("span", {class: "named"}, named(image))));
  }

  query(query) {
    remember(query.reference);
    return element("li", {"data-query": query.id},
      frame(query.reference, 240, {label: `Ask for ${query.text}, from ${named(query.reference)}`, onclick: () => this.ask(query)}),
      element("div", {class: "said"}, element("span", {class: "note named"}, `“${query.text}”`)));
  }
}
