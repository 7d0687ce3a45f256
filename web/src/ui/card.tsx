import { useId } from "react";
import type { ReactNode } from "react";
import { ApiError } from "../api/http";

interface CardProps {
  title: string;
  /** Of what, where several cards of this title stand on one page: said to those who do not see where it stands. */
  of?: string;
  /** Beside the title, at the right. */
  aside?: ReactNode;
  /** Under the title, in one line. */
  lead?: ReactNode;
  className?: string;
  children: ReactNode;
}

/** A part of a view under its own heading. */
export function Card({ title, of, aside, lead, className = "", children }: CardProps) {
  const id = useId();
  return (
    <section className={`card ${className}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>
          {title}
          {of && <span className="unseen"> of {of}</span>}
        </h2>
        {aside && <div className="aside">{aside}</div>}
      </header>
      {lead && <p className="lead">{lead}</p>}
      {children}
    </section>
  );
}

/** Nothing to show: what is missing, and what mends it. */
export function Empty({ what, mend, command }: { what: string; mend?: string; command?: string }) {
  return (
    <p className="empty">
      {what}
      {(mend ?? command) && (
        <span className="mend">
          {mend} {command && <code>{command}</code>}
        </span>
      )}
    </p>
  );
}

/** A question that was not answered, in the server's words. */
export function Failed({ error, retry }: { error: Error; retry?: () => void }) {
  const hint = error instanceof ApiError ? error.hint : "";
  return (
    <p className="empty failed" role="alert">
      <span aria-hidden="true">✕</span> {error.message}
      {hint && <span className="mend">{hint}</span>}
      {retry && (
        <button type="button" className="quiet" onClick={retry}>
          Ask again
        </button>
      )}
    </p>
  );
}

/** Lines where figures will be. */
export function Waiting({ lines = 4 }: { lines?: number }) {
  return (
    <div className="waiting" role="status" aria-label="loading">
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} />
      ))}
    </div>
  );
}

/** What belongs beside everything that a person could act upon. */
export function Warnings({ warnings }: { warnings: readonly string[] | undefined }) {
  const said = warnings?.filter((warning) => !/^not financial advice\.?$/i.test(warning)) ?? [];
  const advised = said.some((warning) => /not financial advice/i.test(warning));
  return (
    <aside className="warnings" aria-label="warnings">
      {!advised && <strong>Not financial advice. </strong>}
      {said.join(" ")}
    </aside>
  );
}
