// What may be done to a delivery, in the order in which it is offered.
import type { Permission } from "~/gen/plumb/v1/common_pb";
import type { ActRequest, Delivery, GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";
import type { IconName } from "~/parts/icon/Icon";

export type ActionName = NonNullable<ActRequest["action"]["case"]>;

export interface Offer {
  name: ActionName;
  label: string;
  icon: IconName;
  danger?: boolean;
  permission: Permission | undefined; // not set as long as it is not known
}

export interface Offers {
  buttons: Offer[]; // always in sight
  more: Offer[]; // in the menu beside them
}

// wordOf is what an action is called by users of a dialect.
export function wordOf(name: ActionName, delivery: Pick<Delivery, "dialect" | "ref">): string {
  const words: Record<ActionName, string> = {
    sync: delivery.dialect === "argo" ? "Sync" : "Reconcile",
    refresh: "Refresh",
    suspend: delivery.dialect === "argo" ? "Disable auto-sync" : "Suspend",
    resume: delivery.dialect === "argo" ? "Enable auto-sync" : "Resume",
    approve: "Approve deletions",
    rollback: "Roll back",
    terminate: "Terminate",
    delete: "Delete",
    lift: "Lift quarantine",
    objectAction: "Restart",
  };
  return words[name];
}

const icons: Record<ActionName, IconName> = { sync: "sync", refresh: "refresh", suspend: "pause", resume: "play", approve: "check", rollback: "rollback", terminate: "stop", delete: "trash", lift: "check", objectAction: "refresh" };

// offersOf decides what is offered. What makes no sense for the delivery as it
// is now is left out; what is not allowed stays, with the reason.
export function offersOf(delivery: Delivery, detail: Pick<GetDeliveryResponse, "actions" | "quarantined" | "operation"> | undefined): Offers {
  const offer = (name: ActionName, danger?: boolean): Offer => ({ name, label: wordOf(name, delivery), icon: icons[name], danger, permission: detail?.actions[permissionKey(name, detail)] });
  const application = delivery.ref?.kind === "Application";
  const set = delivery.ref?.kind === "ApplicationSet";
  const running = detail?.operation?.phase === "Running" || detail?.operation?.phase === "Terminating";
  return {
    buttons: set ? [offer("refresh")] : [offer("sync"), offer("refresh")],
    more: [
      ...(set ? [] : [offer(delivery.suspended ? "resume" : "suspend")]),
      ...(application && (running || delivery.running) ? [offer("terminate")] : []),
      ...(delivery.hold ? [offer("approve", true)] : []),
      ...(detail?.quarantined ? [offer("lift")] : []),
      offer("delete", true),
    ],
  };
}

// permissionKey is how the server names the permission of an action: as the
// field of ActRequest is called, in JSON or in the definition.
export function permissionKey(name: ActionName | "logs", detail: Pick<GetDeliveryResponse, "actions">): string {
  return name in detail.actions ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function permissionOf(name: ActionName | "logs", detail: Pick<GetDeliveryResponse, "actions"> | undefined): Permission | undefined {
  return detail?.actions[permissionKey(name, detail)];
}
