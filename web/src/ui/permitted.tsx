/** Buttons that change something: shown to everybody, and where they may not be pressed they say why. */
import { useId } from "react";
import type { ReactNode } from "react";
import type { Caller } from "../api/shapes";
import { useCollection } from "../live/use";

const ROLES: readonly Caller["role"][] = ["read", "trade", "admin"];

/** Return why somebody may not do what needs a role; empty where they may, or where the server has not said who they are. */
export function refusalOf(caller: Caller | undefined, role: Caller["role"]): string {
  if (!caller || ROLES.indexOf(caller.role) >= ROLES.indexOf(role)) return "";
  return `This needs a token with the role ${role}; yours (${caller.name}) has the role ${caller.role}.`;
}

interface Props {
  role: Caller["role"];
  /** Why it cannot be pressed now, whoever asks; empty where it can. */
  not?: string;
  className?: string;
  label?: string;
  onClick: () => void;
  children: ReactNode;
}

/** It keeps its place for the keyboard where it is refused, so that the reason is heard. */
export function CommandButton({ role, not = "", className = "quiet", label, onClick, children }: Props) {
  const id = useId();
  const caller = useCollection("caller").items[0];
  const why = refusalOf(caller, role) || not;
  return (
    <>
      <button type="button" className={className} aria-label={label} aria-disabled={why !== ""} aria-describedby={why ? id : undefined} title={why || undefined} onClick={() => !why && onClick()}>
        {children}
      </button>
      {why && (
        <span id={id} className="unseen">
          {why}
        </span>
      )}
    </>
  );
}
