import { useId, useLayoutEffect, useRef } from "react";
import type { ReactNode } from "react";

interface Props {
  title: string;
  onClose: () => void;
  className?: string;
  children: ReactNode;
}

/** A dialog of the browser's own: it holds the focus, closes with Escape and gives the focus back. */
export function Dialog({ title, onClose, className = "", children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  // before it leaves the page: a dialog that is gone gives no focus back
  useLayoutEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      dialog.querySelector<HTMLElement>("form input, [role=combobox]")?.focus();
    }
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      className={className}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === element.current && onClose()}
    >
      <div className="inside">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" className="icon" aria-label="close" onClick={onClose}>
            ✕
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
