// The picture of Overview that is brushed: whoever drags over a part of it sees that alone.

const place = document.querySelector("[data-brush]");

if (place) {
  const { default: uPlot } = await import(place.dataset.uplot);
  const data = JSON.parse(place.dataset.series);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // light-dark() is resolved where it is used, not in the property.
  const probe = document.createElement("span");
  probe.hidden = true;
  place.append(probe);
  const resolved = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color || colour(name);
  };
  const written = new Intl.DateTimeFormat("en-GB", {
    timeZone: place.dataset.brushZone, month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  });
  const label = (seconds, isDay) => {
    const part = Object.fromEntries(written.formatToParts(seconds * 1000).map(({ type, value }) => [type, value]));
    const clock = `${part.hour}:${part.minute}`;
    return isDay || clock === "00:00" ? `${part.month}-${part.day}` : clock;
  };
  const axis = { stroke: () => resolved("--soft"), grid: { stroke: () => resolved("--line"), width: 1 }, ticks: { show: false } };
  const line = (label, name) => ({ label, stroke: () => resolved(name), width: 1.5, points: { show: false } });

  place.hidden = false;
  const picture = new uPlot(
    {
      width: place.clientWidth,
      height: 110,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), place.dataset.brushZone),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, y: false },
      series: [{}, line("failure", "--bad"), line("success", "--good"), line("unknown", "--soft")],
      axes: [
        { ...axis, size: 28, values: (_, splits, number, space, step) => splits.map((one) => label(one, step >= 86400)) },
        { ...axis, size: 48 },
      ],
      hooks: {
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            const address = new URL(place.dataset.href, location.href);
            address.searchParams.set("from", Math.floor(plot.posToVal(left, "x") * 1000));
            address.searchParams.set("to", Math.ceil(plot.posToVal(left + width, "x") * 1000));
            location.assign(address);
          },
        ],
      },
    },
    data,
    place,
  );
  new ResizeObserver(() => {
    if (place.clientWidth && place.clientWidth !== picture.width) picture.setSize({ width: place.clientWidth, height: 110 });
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => picture.redraw(false));
}
