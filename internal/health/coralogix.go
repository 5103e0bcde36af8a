package health

// coralogix judges what is kept in step with Coralogix.
var coralogix = system{group: "coralogix.com", kinds: shared(first(conditionBoth("RemoteSynced")), "Alert", "RecordingRuleGroupSet")}
