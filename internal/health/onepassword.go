package health

// onePassword judges the items of 1Password's operator.
var onePassword = system{group: "onepassword.com", kinds: shared(readyBoth, "OnePasswordItem")}
