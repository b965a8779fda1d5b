// The steps of a search, and the link that holds them: all that a colleague needs to see the same.

export const EVEN = 0.5;

/** `own` is the key of a photo of one's own, which the page alone holds. */
export const step = (values = {}) => ({
  image: null, own: null, text: "", less: "", weight: EVEN, like: [], unlike: [], query: null, ...values,
});

export const empty = () => ({steps: [], at: -1, category: "", by: [], top: 0});

export const current = trail => trail.steps[trail.at] || null;

/** The trail with one more step behind the current one; what was tried after that one is dropped. */
export function advanced(trail, next) {
  const steps = [...trail.steps.slice(0, trail.at + 1), next];
  return {...trail, steps, at: steps.length - 1, top: 0};
}

/** The trail with its current step replaced, or begun. */
export function revised(trail, values) {
  if (!current(trail)) return advanced(trail, step(values));
  const steps = trail.steps.slice();
  steps[trail.at] = {...steps[trail.at], ...values};
  return {...trail, steps};
}

const plain = step();

/** What differs from an empty step, in a link. */
function brief(one) {
  const kept = Object.entries(one).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(plain[name]));
  return JSON.stringify(Object.fromEntries(kept));
}

export function toHash(trail) {
  if (!trail.steps.length) return "";
  const values = new URLSearchParams(trail.steps.map(one => ["step", brief(one)]));
  if (trail.at !== trail.steps.length - 1) values.set("at", trail.at);
  if (trail.category) values.set("category", trail.category);
  for (const name of trail.by) values.append("by", name);
  if (trail.top) values.set("top", trail.top);
  return `#${values}`;
}

const texts = values => (Array.isArray(values) ? values.filter(one => typeof one === "string") : []);

/** A step of a link, whose writer may be anybody. */
function read(text) {
  const found = JSON.parse(text);
  const weight = Number(found.weight ?? EVEN);
  return step({
    image: typeof found.image === "string" ? found.image : null,
    own: found.own ? String(found.own) : null,
    text: String(found.text ?? ""),
    less: String(found.less ?? ""),
    weight: weight >= 0 && weight <= 1 ? weight : EVEN,
    like: texts(found.like),
    unlike: texts(found.unlike),
    query: typeof found.query === "string" ? found.query : null,
  });
}

export function fromHash(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  let steps = [];
  try {
    steps = values.getAll("step").map(read);
  } catch {
    steps = [];
  }
  const at = Number(values.get("at") ?? steps.length - 1);
  return {
    steps,
    at: steps[at] ? at : steps.length - 1,
    category: values.get("category") || "",
    by: values.getAll("by").slice(0, 2),
    top: Math.max(Math.trunc(Number(values.get("top"))) || 0, 0),
  };
}
