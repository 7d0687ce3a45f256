/** Icons of one weight, drawn here: no fonts, no requests. */
const PATHS = {
  wind: "M3 12h9.5a3 3 0 1 0-2.9-3.8M3 8.5h3.5M3 15.5h7M14 16l6-6",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 20 20",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  help: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.8v.1",
  today: "M4 11.5 12 5l8 6.5M6.5 10v9h11v-9",
  symbol: "M7 4v3M7 15v4M5 7h4v8H5ZM16 3v6M16 16v4M14 9h4v7h-4Z",
  watchlist: "M4 6h2M9 6h11M4 12h2M9 12h11M4 18h2M9 18h11",
  portfolio: "M4 18 9.5 11l4 3.5L20 6M15.5 6H20v4.5",
  models: "M4 20C4 10 8 5 12 5s8 5 8 15M4 20h16M12 5v15",
  system: "M3 12h4l2.5-7 4.5 14 2.5-7H21",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg className="glyph" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
