package signin

import (
	"context"
	"slices"
	"time"

	"plumb.dev/plumb/internal/model"
)

const (
	serviceAccountPrefix = "system:serviceaccount:"
	// How long an answer of the API server holds.
	reviewHolds  = 30 * time.Second
	refusalHolds = 10 * time.Second
	// reviewTimeout bounds the wait for a turn to ask, and for the answer: anybody
	// can send what looks like a token.
	reviewTimeout = 10 * time.Second
)

// serviceAccount asks the API server about a token that says it is one of a
// service account. Its claims only choose the question.
func (d *Door) serviceAccount(ctx context.Context, token string, claims claimsOf) (Principal, error) {
	if d.options.Reviewer == nil {
		return Principal{}, refuse(ErrInvalidSession, "service accounts are not served here")
	}
	expires, ok := claims.time("exp")
	now := d.options.Now()
	if !ok || (!expires.IsZero() && !now.Before(expires)) {
		return Principal{}, refuse(ErrInvalidSession, "the token of a service account has expired")
	}
	review, err := d.review(ctx, token, claims)
	switch {
	case err != nil:
		return Principal{}, err
	case !review.Authenticated:
		return Principal{}, refuse(ErrInvalidSession, "the API server does not know the token, or it is made for another audience")
	case review.User != claims.text("sub"):
		return Principal{}, refuse(ErrInvalidSession, "the API server knows the token under another name")
	}
	issued, _ := claims.time("iat")
	id := claims.text("jti")
	if id == "" {
		id = digestOf(token)
	}
	return Principal{
		Kind: KindKubernetes, Name: review.User, Subject: review.User, Groups: slices.Clone(review.Groups),
		KubernetesUser: review.User, KubernetesGroups: slices.Clone(review.Groups),
		Issuer: "kubernetes", TokenID: id, Issued: issued, Expires: expires,
	}, nil
}

// review asks with our own audience if the token is made for it, else with that
// of the API server, which is what an empty list stands for.
func (d *Door) review(ctx context.Context, token string, claims claimsOf) (Review, error) {
	// The signature as well: another one for the same claims is another token.
	key := digest(16, "review", token)
	if known, ok := d.reviews.get(key, d.options.Now()); ok {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return Review{}, refuse(ErrUnavailable, "too many reviews of tokens under way")
	}
	var audiences []string
	if slices.Contains(texts(claims["aud"]), d.options.Audience) {
		audiences = []string{d.options.Audience}
	}
	review, err := d.options.Reviewer.Review(ctx, model.NewSecret([]byte(token)), audiences)
	if err != nil {
		return Review{}, refuseFor(ErrUnavailable, "the API server did not review the token", err)
	}
	if len(audiences) > 0 && !slices.Contains(review.Audiences, d.options.Audience) {
		review = Review{}
	}
	holds := reviewHolds
	if !review.Authenticated {
		holds = refusalHolds
	}
	now := d.options.Now()
	d.reviews.put(key, review, now, now.Add(holds))
	return review, nil
}
