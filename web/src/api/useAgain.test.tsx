import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { act, render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { SessionService } from "~/gen/plumb/v1/session_pb";
import { ApiProvider, createApi } from "./api";
import { useCall } from "./useCall";

function Who() {
  const { data, trouble } = useCall("who", (api, signal) => api.session.getMe({}, { signal }));
  return <p>{data?.name ?? trouble?.kind ?? "waiting"}</p>;
}

test("what could not be reached is asked for again as soon as the network is back", async () => {
  let reachable = false;
  const transport = createRouterTransport(({ service }) => {
    service(SessionService, {
      getMe() {
        if (!reachable) throw new ConnectError("", Code.Unavailable);
        return { name: "ann" };
      },
    });
  });
  render(<ApiProvider api={createApi(transport)}><Who /></ApiProvider>);
  await screen.findByText("offline");
  reachable = true;
  act(() => void window.dispatchEvent(new Event("online")));
  expect(await screen.findByText("ann")).toBeTruthy();
});
