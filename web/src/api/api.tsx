// The clients of Plumb's services, handed down by context so that tests can put
// a server of their own behind them.
import { createClient, type Client, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { createContext, useContext, type ReactNode } from "react";
import { DeliveryService } from "~/gen/plumb/v1/deliveries_pb";
import { FleetService } from "~/gen/plumb/v1/fleet_pb";
import { SessionService } from "~/gen/plumb/v1/session_pb";

export interface Api {
  session: Client<typeof SessionService>;
  deliveries: Client<typeof DeliveryService>;
  fleet: Client<typeof FleetService>;
}

// The server refuses calls of browsers without this header: other sites cannot set it.
const csrf: Interceptor = (next) => (request) => {
  request.header.set("X-Plumb-Request", "1");
  return next(request);
};

export function browserTransport(): Transport {
  return createConnectTransport({ baseUrl: "/", useBinaryFormat: false, interceptors: [csrf] });
}

export function createApi(transport: Transport): Api {
  return {
    session: createClient(SessionService, transport),
    deliveries: createClient(DeliveryService, transport),
    fleet: createClient(FleetService, transport),
  };
}

const Context = createContext<Api | null>(null);

export function ApiProvider({ api, children }: { api: Api; children: ReactNode }) {
  return <Context.Provider value={api}>{children}</Context.Provider>;
}

export function useApi(): Api {
  const api = useContext(Context);
  if (!api) throw new Error("useApi outside of ApiProvider");
  return api;
}
