/* What the demo shop sells. The pictures are drawn here, so that the page asks nobody for anything. */

const CURRENCY = "EUR";

/* Each picture is a scene of 200 by 160 with the floor at y = 132. */
const PRODUCTS = [
  {
    id: "mug-sand", name: "Stoneware mug", price: 18, category: "Kitchen", tint: "#ecdcc6",
    text: "Thrown by hand, glazed in sand. Holds a proper morning: 380 ml.",
    picture: `<path d="M128 74h14a19 19 0 0 1 0 38h-16" fill="none" stroke="#a9703f" stroke-width="9"/>
      <path d="M62 56h70v58a18 18 0 0 1-18 18H80a18 18 0 0 1-18-18z" fill="#c98f5a"/>
      <path d="M62 56h70v22c-12 9-22-3-35 4s-24 5-35-3z" fill="#f6ead9"/><ellipse cx="97" cy="56" rx="35" ry="7" fill="#7a4a26"/>
      <path d="M84 38c-6-8 6-11 0-20M104 38c-6-8 6-11 0-20" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" opacity=".75"/>`,
  },
  {
    id: "teapot-ink", name: "Cast-iron teapot", price: 64, category: "Kitchen", tint: "#cfdad7",
    text: "Keeps two quiet cups warm for an hour, and looks good doing it.",
    picture: `<path d="M66 70C66 30 130 30 130 70" fill="none" stroke="#22333b" stroke-width="6"/>
      <path d="M50 92 26 76l-7 6 28 34z" fill="#2f4550"/><ellipse cx="98" cy="100" rx="54" ry="34" fill="#2f4550"/>
      <path d="M70 73a28 9 0 0 1 56 0z" fill="#3d5a66"/><circle cx="98" cy="60" r="6" fill="#d98f4e"/>
      <path d="M56 92a46 22 0 0 1 40-14" fill="none" stroke="#6c8a96" stroke-width="4" stroke-linecap="round"/>
      <rect x="72" y="128" width="52" height="5" rx="2" fill="#22333b"/>`,
  },
  {
    id: "bowls-nest", name: "Nesting bowls", price: 42, category: "Kitchen", tint: "#f3d9cf",
    text: "Three bowls, one shelf space. Oven, fridge and dishwasher are fine.",
    picture: `<path d="M36 78h128c0 34-26 54-64 54S36 112 36 78z" fill="#b8523a"/><ellipse cx="100" cy="78" rx="64" ry="11" fill="#8d3b29"/>
      <path d="M54 64h92c0 22-18 33-46 33S54 86 54 64z" fill="#e08e6d"/><ellipse cx="100" cy="64" rx="46" ry="8" fill="#b8664a"/>
      <path d="M70 50h60c0 16-12 25-30 25S70 66 70 50z" fill="#f7e3d4"/><ellipse cx="100" cy="50" rx="30" ry="6" fill="#dcbfa9"/>`,
  },
  {
    id: "candle-wax", name: "Beeswax candle", price: 14, category: "Living", tint: "#f4e3b5",
    text: "Burns for forty hours and smells of late summer.",
    picture: `<ellipse cx="100" cy="40" rx="34" ry="36" fill="#fff7d6" opacity=".8"/><path d="M100 16c14 17 12 32 0 36-12-4-14-19 0-36z" fill="#f3a531"/>
      <path d="M100 30c6 9 6 16 0 20-6-4-6-11 0-20z" fill="#fff1b8"/><path d="M100 50v12" stroke="#5b4636" stroke-width="3"/>
      <rect x="72" y="62" width="56" height="70" rx="6" fill="#e6b24a"/><path d="M72 68c8 14 12-2 18 8s10 6 18-2 14 4 20-6v-2a6 6 0 0 0-6-4H78a6 6 0 0 0-6 4z" fill="#f6d27e"/>
      <path d="M82 84v36M100 90v30M118 84v36" stroke="#c9922f" stroke-width="2" opacity=".5"/>`,
  },
  {
    id: "lamp-desk", name: "Reading lamp", price: 89, category: "Living", tint: "#d5dcec",
    text: "A warm cone of light for one chair and one book.",
    picture: `<path d="M128 62 176 132H84z" fill="#fff3c4" opacity=".75"/><path d="M60 130 82 74 112 44" fill="none" stroke="#3b4a6b" stroke-width="6" stroke-linecap="round" stroke-linejoin="round"/>
      <path d="m104 30 40 32-34 12c-12-8-14-28-6-44z" fill="#e4572e"/><circle cx="124" cy="66" r="8" fill="#ffe08a"/>
      <circle cx="82" cy="74" r="6" fill="#2b3650"/><path d="M38 132a24 9 0 0 1 48 0z" fill="#2b3650"/>`,
  },
  {
    id: "chair-oak", name: "Oak chair", price: 189, category: "Living", tint: "#dfe3cf",
    text: "Oiled oak and paper cord. It will outlast the table.",
    picture: `<path d="M66 132 72 22M134 132 128 22" stroke="#a8763e" stroke-width="8" stroke-linecap="round"/><path d="M70 30q30 10 60 0v16q-30 9-60 0z" fill="#c08a4c"/>
      <path d="M69 56q31 8 62 0v8q-31 8-62 0z" fill="#c08a4c"/><path d="M58 86h84l6 14H52z" fill="#efe0bd"/><path d="M52 100h96v6H52z" fill="#c08a4c"/>
      <path d="M58 106 54 132M142 106l4 26" stroke="#8d6030" stroke-width="8" stroke-linecap="round"/><path d="M62 118h76" stroke="#8d6030" stroke-width="4"/>
      <path d="M64 90h74M61 95h79" stroke="#d3bf91" stroke-width="2"/>`,
  },
  {
    id: "clock-wall", name: "Wall clock", price: 46, category: "Living", tint: "#d2e3e6",
    text: "Sweeps without ticking. Beech, glass and a battery that lasts.",
    picture: `<circle cx="100" cy="78" r="56" fill="#b98a57"/><circle cx="100" cy="78" r="47" fill="#fbf8f1"/>
      <path d="M100 36v8M100 112v8M58 78h8M134 78h8M70 48l5 5M130 48l-5 5M70 108l5-5M130 108l-5-5" stroke="#33424a" stroke-width="3" stroke-linecap="round"/>
      <path d="M100 78 80 62M100 78l24-20" stroke="#33424a" stroke-width="5" stroke-linecap="round"/><path d="M100 78v30" stroke="#e4572e" stroke-width="2.5"/><circle cx="100" cy="78" r="5" fill="#e4572e"/>`,
  },
  {
    id: "cushion-linen", name: "Linen cushion", price: 34, category: "Living", tint: "#e6d7e4",
    text: "Washed linen, feather filling, a zip that does not scratch.",
    picture: `<path d="M44 44q56-14 112 0 12 42 0 84-56 10-112 0-12-42 0-84z" fill="#7d5a80"/><path d="M62 40q-9 45 0 91M138 40q9 45 0 91" fill="none" stroke="#b795b9" stroke-width="7"/>
      <path d="M82 38q-4 46 0 94M118 38q4 46 0 94" fill="none" stroke="#e9d4ea" stroke-width="3"/>
      <path d="M40 40l12 10M160 40l-12 10M40 132l12-10M160 132l-12-10" stroke="#5b3f5e" stroke-width="5" stroke-linecap="round"/>`,
  },
  {
    id: "fern-pot", name: "Potted fern", price: 24, category: "Garden", tint: "#d6e6cf",
    text: "Forgives a missed watering, and says so by growing.",
    picture: `<g fill="none" stroke="#3f7d4e" stroke-width="9" stroke-linecap="round"><path d="M100 92C96 60 80 40 52 36"/><path d="M100 92c4-32 20-52 48-56"/><path d="M100 92C88 74 66 66 40 74"/><path d="M100 92c12-18 34-26 60-18"/></g>
      <g fill="none" stroke="#6fae6f" stroke-width="8" stroke-linecap="round"><path d="M100 92c-4-30-8-48-16-70"/><path d="M100 92c4-30 8-48 18-68"/><path d="M100 92V34"/></g>
      <path d="M68 88h64l-8 44H76z" fill="#d2764a"/><path d="M64 82h72v14H64z" fill="#e28b5e"/>`,
  },
  {
    id: "can-brass", name: "Watering can", price: 29, category: "Garden", tint: "#f0e2c3",
    text: "A long spout for the plants at the back of the shelf.",
    picture: `<path d="M76 68C80 22 146 26 142 84" fill="none" stroke="#8f6a24" stroke-width="7"/><path d="M82 118 34 56l-9 7 45 66z" fill="#b98a35"/>
      <path d="m18 66 20-20 6 7-18 19z" fill="#8f6a24"/><path d="M76 74h68l6 58H70z" fill="#d6a446"/><ellipse cx="110" cy="74" rx="34" ry="7" fill="#8f6a24"/>
      <path d="M86 90l-3 32" stroke="#f2d590" stroke-width="5" stroke-linecap="round"/><path d="M16 78v8M24 88v8M11 94v8" stroke="#6aa5c9" stroke-width="4" stroke-linecap="round"/>`,
  },
  {
    id: "vase-blue", name: "Bottle vase", price: 38, category: "Garden", tint: "#d3dff0",
    text: "One stem is enough. Recycled glass, blown in Småland.",
    picture: `<path d="M100 60C102 40 112 30 124 22" fill="none" stroke="#4f8a57" stroke-width="4"/><path d="M104 42c-12-2-20-8-22-18 12 0 20 6 22 18z" fill="#6fae6f"/>
      <g fill="#f2b6c1"><circle cx="124" cy="12" r="9"/><circle cx="135" cy="20" r="9"/><circle cx="131" cy="33" r="9"/><circle cx="117" cy="33" r="9"/><circle cx="113" cy="20" r="9"/></g><circle cx="124" cy="24" r="8" fill="#e9a23b"/>
      <path d="M90 56h20v20c22 8 28 24 28 36 0 14-14 20-38 20s-38-6-38-20c0-12 6-28 28-36z" fill="#3f6fb0"/><path d="M74 104c2-10 8-17 17-21" fill="none" stroke="#9fc0ea" stroke-width="5" stroke-linecap="round"/>`,
  },
  {
    id: "book-garden", name: "The Window Garden", price: 22, category: "Garden", tint: "#e4ddd0",
    text: "A year of herbs, ferns and small mistakes, in 180 pages.",
    picture: `<path d="M58 28h80a6 6 0 0 1 6 6v98H64a10 10 0 0 1-10-10V32a4 4 0 0 1 4-4z" fill="#2e6b58"/><path d="M64 118h80v14H64a7 7 0 0 1 0-14z" fill="#f8f3e6"/>
      <path d="M66 125h78" stroke="#cfc6b0" stroke-width="2"/><rect x="74" y="42" width="56" height="40" rx="3" fill="#f3e7c9"/>
      <path d="M102 78V54M102 66c-12 0-16-6-17-13 10 0 16 4 17 13zM102 62c0-9 6-13 16-13 0 8-6 13-16 13z" fill="#5d9a61" stroke="#3f7d4e" stroke-width="2"/>
      <path d="M78 94h48M86 103h32" stroke="#f3e7c9" stroke-width="4" stroke-linecap="round"/>`,
  },
];
