/** Goes back through past forecasts, by hand or by itself. */
import { useEffect, useState } from "react";
import { Time } from "./figures";

interface Props {
  /** How many forecasts one can go back. */
  most: number;
  back: number;
  setBack: (back: number) => void;
  time: string | undefined;
}

const STEP_MS = 350;

export function Scrubber({ most, back, setBack, time }: Props) {
  const [playing, setPlaying] = useState(false);
  const runs = playing && back > 0;
  useEffect(() => {
    if (!runs) return;
    const timer = setTimeout(() => setBack(back - 1), STEP_MS);
    return () => clearTimeout(timer);
  }, [runs, back, setBack]);
  const play = () => {
    if (!runs && back === 0) setBack(Math.min(most, 60));
    setPlaying(!runs);
  };
  return (
    <div className="scrubber">
      <button type="button" className="quiet" onClick={play} disabled={!most} aria-label={runs ? "pause" : "replay past forecasts"}>
        <span aria-hidden="true">{runs ? "❚❚" : "▶"}</span> {runs ? "Pause" : "Replay"}
      </button>
      <input
        type="range"
        min={0}
        max={most}
        value={most - Math.min(back, most)}
        disabled={!most}
        aria-label="forecast made at"
        aria-valuetext={back === 0 ? "now" : `${back} forecasts ago`}
        onChange={(event) => {
          setPlaying(false);
          setBack(most - Number(event.target.value));
        }}
      />
      <span className="when">{back === 0 ? "the newest forecast" : <Time at={time} full />}</span>
      <button type="button" className="quiet" onClick={() => setBack(0)} disabled={back === 0}>
        Now
      </button>
    </div>
  );
}
