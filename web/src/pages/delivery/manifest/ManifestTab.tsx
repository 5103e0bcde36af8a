// The declared object; lines have addresses.
import { Skeleton } from "~/parts/states/States";
import { YamlView } from "~/parts/yaml/YamlView";
import { useAddress } from "../address";
import type { Shown } from "../useDelivery";
import styles from "./Manifest.module.css";

export function ManifestTab({ shown }: { shown: Shown }) {
  const address = useAddress();
  if (!shown.detail) return <Skeleton lines={18} label="Loading the manifest" />;
  return (
    <div className={styles.tab}>
      <p className="quiet">As it is declared in the cluster. What may be secret is masked; managed fields are left out.</p>
      <YamlView text={shown.detail.manifest} label="Manifest" mark={Number(address.get("line")) || undefined} hrefOf={(line) => address.href({ line: String(line) })} />
    </div>
  );
}
