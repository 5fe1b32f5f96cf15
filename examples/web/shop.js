/* The demo shop: one page, its views named by the part of the address after `#`. Every `reco.` call of a shop is here. */

(function () {
  const main = document.getElementById("main");
  const byId = new Map(PRODUCTS.map((product) => [product.id, product]));
  const money = (amount) => new Intl.NumberFormat("en-IE", { style: "currency", currency: CURRENCY }).format(amount);
  const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const cart = new Map(); // From a product's id to its quantity.

  // ## Pieces

  const picture = ({ tint, picture }) => `<span class="picture"><svg viewBox="0 0 200 160" aria-hidden="true">
    <rect width="200" height="160" fill="${tint}"/><ellipse cx="100" cy="134" rx="70" ry="7" opacity=".1"/>${picture}</svg></span>`;

  const card = (product) => `<article class="product">
    <a href="#/item/${product.id}" data-click="${product.id}">${picture(product)}
      <span class="about"><strong>${product.name}</strong><span>${product.category}</span></span></a>
    <footer><span class="price">${money(product.price)}</span><button data-add="${product.id}">Add</button></footer></article>`;

  const grid = (products) => `<div class="grid">${products.map(card).join("")}</div>`;

  const categories = (current) => `<nav class="categories">${["All", ...new Set(PRODUCTS.map((p) => p.category))].map((name) =>
    `<a href="#/${name === "All" ? "" : `category/${name}`}" ${name === current ? "aria-current=page" : ""}>${name}</a>`).join("")}</nav>`;

  const total = () => [...cart].reduce((sum, [id, quantity]) => sum + byId.get(id).price * quantity, 0);

  // ## Views: what each shows, and what is recorded when a shopper gets there

  const VIEWS = {
    "": () => ({
      title: "Kiln & Fern",
      html: `<div class="intro"><div><h1>Good things for small rooms</h1><p>Made slowly, sent quickly.</p></div>${categories("All")}</div>${grid(PRODUCTS)}
        <form id="letter" class="letter"><span><strong>A letter a season.</strong> No more than that.</span><button>Subscribe</button></form>`,
      record: () => reco.pageview(),
    }),
    category: (name) => ({
      title: name,
      html: `<div class="intro"><h1>${escape(name)}</h1>${categories(name)}</div>${grid(PRODUCTS.filter((p) => p.category === name))}`,
      record: () => reco.pageview({ category: name }),
    }),
    item(id) {
      const product = byId.get(id);
      if (!product) return VIEWS[""]();
      const others = PRODUCTS.filter((p) => p.category === product.category && p !== product).slice(0, 4);
      return {
        title: product.name,
        html: `<p class="crumbs"><a href="#/">All</a> / <a href="#/category/${product.category}">${product.category}</a></p>
          <section class="item">${picture(product)}<div><h1>${product.name}</h1><p>${product.text}</p>
          <p class="price">${money(product.price)}</p><button data-add="${id}">Add to cart</button></div></section>
          <h2 class="more">More in ${product.category}</h2>${grid(others)}`,
        record: () => reco.detail(id, { price: product.price, currency: CURRENCY }),
      };
    },
    search(query) {
      const words = query.toLowerCase().split(/\s+/);
      const found = PRODUCTS.filter((p) => words.every((word) => `${p.name} ${p.category} ${p.text}`.toLowerCase().includes(word)));
      return {
        title: `Search: ${query}`,
        html: `<div class="intro"><h1>${found.length || "No"} result${found.length === 1 ? "" : "s"} for “${escape(query)}”</h1>${categories()}</div>${grid(found)}`,
        record: () => reco.search(query, { n_results: found.length }),
      };
    },
    cart: () => ({
      title: "Your cart",
      html: cart.size === 0 ? `<div class="notice"><h1>Your cart is empty</h1><p>There is a shelf waiting for something.</p><a class="button" href="#/">Look around</a></div>`
        : `<h1>Your cart</h1><div class="basket">${[...cart].map(([id, quantity]) => `<div class="line">${picture(byId.get(id))}
          <div><strong>${byId.get(id).name}</strong><span>${quantity} × ${money(byId.get(id).price)}</span></div>
          <span class="price">${money(byId.get(id).price * quantity)}</span><button class="plain" data-remove="${id}">Remove</button></div>`).join("")}
          <div class="total"><span>Total</span><span>${money(total())}</span></div></div><button id="buy">Buy now</button>`,
      record: () => reco.pageview(),
    }),
    thanks: (transaction) => ({
      title: "Thank you",
      html: `<div class="notice"><h1>Thank you!</h1><p>Order ${escape(transaction)} is on its way, in a manner of speaking.</p><a class="button" href="#/">Back to the shop</a></div>`,
      record: () => reco.pageview(),
    }),
  };

  let record = () => null;

  function show() {
    const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    const view = (Object.hasOwn(VIEWS, name) ? VIEWS[name] : VIEWS[""])(rest.join("/"));
    document.title = view.title;
    main.innerHTML = view.html;
    document.getElementById("cart-count").textContent = [...cart.values()].reduce((sum, n) => sum + n, 0);
    document.querySelector("#search input").value = name === "search" ? rest.join("/") : "";
    scrollTo(0, 0);
    record = view.record;
    record();
  }

  // ## What shoppers do

  document.addEventListener("click", ({ target }) => {
    const { click, add, remove } = (target.closest("[data-click], [data-add], [data-remove]") || { dataset: {} }).dataset;
    if (click) reco.click(click, { position: PRODUCTS.indexOf(byId.get(click)) });
    if (add) {
      cart.set(add, (cart.get(add) || 0) + 1);
      reco.add(add, { price: byId.get(add).price, quantity: 1, currency: CURRENCY });
      document.getElementById("cart-count").textContent = [...cart.values()].reduce((sum, n) => sum + n, 0);
    }
    if (remove) {
      reco.remove(remove, { price: byId.get(remove).price, quantity: cart.get(remove), currency: CURRENCY });
      cart.delete(remove);
      show();
    }
    if (target.id === "buy") {
      const transaction = `KF-${Date.now().toString(36).toUpperCase()}`;
      const lines = [...cart].map(([item, quantity]) => ({ item, quantity, price: byId.get(item).price }));
      reco.purchase(lines, { currency: CURRENCY, transaction });
      cart.clear();
      location.hash = `#/thanks/${transaction}`;
    }
  });

  document.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.id === "letter") {
      reco.custom("newsletter", { list: "seasons" });
      event.target.textContent = "Thank you, see you in spring.";
    }
    const query = event.target.id === "search" && event.target.query.value.trim();
    if (query) location.hash = `#/search/${encodeURIComponent(query)}`;
  });

  // ## Consent

  const question = document.getElementById("consent");

  function decide(given) {
    reco.consent(given);
    if (given) record(); // What is seen now; not what was seen before.
  }

  function ask() {
    question.hidden = reco.status().consent !== null;
  }

  question.addEventListener("click", ({ target }) => target.dataset.consent && decide(target.dataset.consent === "yes"));
  addEventListener("shop-consent", ({ detail }) => decide(detail));
  addEventListener("reco", ({ detail }) => ["consent", "forgotten"].includes(detail.type) && ask());
  ask();
  addEventListener("hashchange", show);
  show();
})();
