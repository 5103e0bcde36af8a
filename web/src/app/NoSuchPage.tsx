import { ButtonLink } from "~/parts/button/Button";
import { Page } from "~/parts/page/Page";
import { Empty } from "~/parts/states/States";

export function NoSuchPage() {
  return (
    <Page title="No such page">
      <h1 className="unseen">No such page</h1>
      <Empty title="There is no such page" action={<ButtonLink href="/deliveries" icon="deliveries">All deliveries</ButtonLink>}>
        <p>The address may be mistyped, or what it was about is gone.</p>
      </Empty>
    </Page>
  );
}
