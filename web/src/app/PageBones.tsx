import { Bone } from "~/parts/states/States";
import styles from "./Shell.module.css";

// PageBones stands for a page whose code is on its way.
export function PageBones() {
  return (
    <div className={styles.bones} role="status" aria-label="Loading">
      <Bone width={180} height={20} />
      <Bone height={56} />
      <Bone height={320} />
    </div>
  );
}
