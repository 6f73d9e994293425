// The search page asks the book's own index, whose hits are sections (made by
// site/search_extension.py). Where it cannot, Sphinx's search answers: from disk no
// page reads a file, and old browsers know no WebAssembly.

(() => {
  // @ts-expect-error: Sphinx defines it
  const sphinx = Search;

  // Sphinx looks words up in plain objects, where "constructor" and "__proto__" are found
  // though no page has them. Here its index is left with its own words. Of what all
  // objects know Sphinx needs one thing, which no word in small letters is called.
  const value = Object.prototype.hasOwnProperty;
  const nothing = Object.create(null, { hasOwnProperty: { value } });
  const { setIndex } = sphinx;
  /** @param {{ terms: object, titleterms: object }} index */
  sphinx.setIndex = (index) => {
    Object.setPrototypeOf(index.terms, nothing);
    Object.setPrototypeOf(index.titleterms, nothing);
    setIndex(index);
  };

  if (location.protocol === "file:") return;

  const AT_ONCE = 10;
  // The book is British; not all its readers are.
  /** @type {[RegExp, string][]} */
  const SPELLINGS = [
    [/([a-z]{3}(?<!s))iz(e|ed|es|er|ers|ing|able|ations?)\b/g, "$1is$2"],
    [/lyz(e|ed|es|er|ing)\b/g, "lys$1"],
    [/\b(behavi|col|fav|neighb)or/g, "$1our"],
    [/\bcenter(?=ed|ing)/g, "centr"],
    [/\bcenter/g, "centre"],
    [/\bgray/g, "grey"],
    [/\b(label|model)(ed|ing)\b/g, "$1l$2"],
  ];

  const withoutIndex = sphinx.query;

  /**
   * A query in British spelling.
   * @param {string} query
   */
  const british = (query) =>
    SPELLINGS.reduce((text, pair) => text.replace(...pair), query.toLowerCase());

  /**
   * Say whether a record has each word of a query.
   * @param {any} record
   * @param {string} query
   */
  const answers = ({ content, meta }, query) => {
    const text = [content, ...Object.values(meta)].join(" ").toLowerCase();
    // @ts-expect-error: Sphinx defines both
    const [stemmer, split] = [new Stemmer(), splitQuery];
    /** @param {string} word */
    const holds = (word) => text.includes(stemmer.stemWord(word).replace(/i$/, ""));
    return split(query).every(holds);
  };

  /**
   * Load the first of some hits.
   * @param {any[]} hits
   */
  const load = (hits) => Promise.all(hits.slice(0, AT_ONCE).map((hit) => hit.data()));

  /**
   * What a record is called.
   * @param {any} record
   * @returns {string}
   */
  const title = ({ meta }) => meta.title ?? meta.name;

  /**
   * Find the hits of a query; those that are called like it come first. For a word that
   * no record has, Pagefind takes what begins alike, such as "quick" for "quicksand": that
   * is no answer.
   * @param {any} pagefind
   * @param {string} query
   */
  const find = async (pagefind, query) => {
    /** @type {any[]} */
    const results = (await pagefind.search(query)).results;
    const best = await load(results);
    if (!best.some((record) => answers(record, query))) return [];
    const named = results.filter((_, i) => best[i] && title(best[i]) === query);
    return [...new Set([...named, ...results])];
  };

  /**
   * A record as an item of the list. Sphinx marks the words on the page that its link
   * leads to: parts of words too, so short ones are left out.
   * @param {any} record
   * @param {string} query
   */
  const item = (record, query) => {
    const { raw_url, meta, excerpt } = record;
    const entry = document.createElement("li");
    const link = document.createElement("a");
    const [page, anchor] = raw_url.split("#");
    // @ts-expect-error: Sphinx defines it
    const words = splitQuery(query).filter((word) => word.length > 4);
    const marked = words.length
      ? `?highlight=${encodeURIComponent(words.join(" "))}`
      : "";
    link.href = page + marked + (anchor ? `#${anchor}` : "");
    link.textContent = title(record);
    entry.append(link);
    if (meta.place) {
      const place = document.createElement("span");
      place.className = "place";
      place.textContent = meta.place;
      entry.append(" ", place);
    }
    const context = document.createElement("p");
    context.className = "context";
    context.innerHTML = excerpt; // escaped, with marks
    entry.append(context);
    return entry;
  };

  /**
   * Show some hits, and a button for more where there are more.
   * @param {any[]} hits
   * @param {string} query
   */
  const show = async (hits, query) => {
    const items = (await load(hits)).map((record) => item(record, query));
    sphinx.output.append(...items);
    const rest = hits.slice(AT_ONCE);
    if (rest.length) {
      const button = document.createElement("button");
      button.className = "btn more";
      button.textContent = "Show more";
      button.addEventListener("click", async () => {
        const [first] = await show(rest, query);
        button.remove();
        first.querySelector("a")?.focus();
      });
      sphinx.output.after(button);
    }
    return items;
  };

  /** @param {string} query */
  sphinx.query = async (query) => {
    try {
      const place = new URL("pagefind/pagefind.js", document.baseURI).href;
      const pagefind = await import(place);
      await pagefind.options({
        excerptLength: 30,
        ranking: {
          metaWeights: { title: 5, name: 2, terms: 10, dotted: 0.2, place: 0.2 },
        },
      });
      let words = british(query);
      let hits = await find(pagefind, words);
      if (!hits.length) {
        words = query; // some names and titles are American
        hits = await find(pagefind, words);
      }
      await show(hits, words);
      const count = `${hits.length} ${hits.length === 1 ? "section" : "sections"}`;
      sphinx.stopPulse();
      sphinx.title.textContent = "Search Results";
      sphinx.status.textContent = hits.length
        ? `Search finished, found ${count}.`
        : "Search finished, found nothing. Are all words spelled correctly?";
    } catch (error) {
      console.info("Sphinx's search answers, since the index does not:", error);
      withoutIndex(query);
    }
  };
})();
