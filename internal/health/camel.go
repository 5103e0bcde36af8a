package health

// camel judges the integrations of Apache Camel K.
var camel = system{group: "camel.apache.org", kinds: map[string]rule{"Integration": readyBoth}}
