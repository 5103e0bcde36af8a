// Leads from an address of Argo CD's console to the page that is meant.
import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { useEffect } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { queryForServer } from "~/api/query";
import { useCall } from "~/api/useCall";
import { PageBones } from "~/app/PageBones";
import { NoSuchPage } from "~/app/NoSuchPage";
import { TroubleState } from "~/parts/states/States";
import { leadOf, type Lead } from "./links";

export default function ArgoLink() {
  const [path] = useLocation();
  const lead = leadOf(path, new URLSearchParams(useSearch()));
  if (!lead) return <NoSuchPage />;
  return "to" in lead ? <Redirect to={lead.to} replace /> : <Find lead={lead} />;
}

// Find looks for what an address has the name of, and not the namespace.
function Find({ lead: { kind, name, of } }: { lead: Exclude<Lead, { to: string }> }) {
  const [, navigate] = useLocation();
  const query = { search: name, where: { kind: [kind] }, labels: "", order: "name" };
  const { data, trouble, refresh } = useCall(`argo ${kind} ${name}`, (api, signal) => api.deliveries.listDeliveries({ query: queryForServer(query, { size: 200 }), readMask: create(FieldMaskSchema, { paths: ["ref"] }) }, { signal }));
  useEffect(() => {
    if (!data) return;
    const found = data.deliveries.filter((d) => d.ref!.name === name);
    navigate(found.length === 1 ? of(found[0]!.ref!) : `/deliveries?kind=${kind}&q=${encodeURIComponent(name)}`, { replace: true });
  }, [data]);
  return trouble && !data ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <PageBones />;
}
