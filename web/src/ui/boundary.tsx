import { Component } from "react";
import type { ReactNode } from "react";

/** Where a view breaks, the rest of the page stays and says so. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <section className="card" role="alert">
        <h1>This view broke</h1>
        <p>
          {this.state.error.message}. That is a fault of the page, not of your account. Another view, or loading the page anew, may work; please report it.
        </p>
        <button type="button" className="quiet" onClick={() => location.reload()}>
          Load anew
        </button>
      </section>
    );
  }
}
