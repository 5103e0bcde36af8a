package cloud

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"plumb.dev/plumb/internal/model"
)

// Audience and annotation by which IAM roles are given to service accounts.
const (
	awsAudience = "sts.amazonaws.com"
	awsRole     = "eks.amazonaws.com/role-arn"
)

var (
	awsRoleForm     = regexp.MustCompile(`^arn:aws[\w-]*:iam::[0-9]{1,30}:role/.{1,200}$`)
	awsEndpointForm = regexp.MustCompile(`^https://([A-Za-z0-9-]+\.)*sts(-fips)?(\.[a-z0-9-]+)?(\.vpce)?\.amazonaws\.com$`)
	// The hosts of private ECR registries in every partition, and the region in
	// them (awslabs/amazon-ecr-credential-helper).
	ecrHost = regexp.MustCompile(`^[0-9]+\.dkr[.-]ecr(?:-fips)?\.([^/.]+)\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov|on\.aws)$`)
)

// The public registry has one region.
const (
	ecrPublicHost   = "public.ecr.aws"
	ecrPublicRegion = "us-east-1"
)

// awsClient is the client of an exchange, with the authorities that
// AWS_CA_BUNDLE names: the SDK insists on adding them itself, to a client of its
// own making.
func awsClient(w *way) (aws.HTTPClient, error) {
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" || w.proxy == nil {
		return w.client, nil
	}
	authorities, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.New("the file of AWS_CA_BUNDLE cannot be read")
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(authorities) {
		return nil, errors.New("the file of AWS_CA_BUNDLE holds no certificate in PEM form")
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy = w.proxy
		t.TLSClientConfig.RootCAs = roots
	}), nil
}

func (b *Broker) awsCredentials(ctx context.Context, id model.WorkloadIdentity, w *way, region, endpoint string) (AWSCredentials, error) {
	if endpoint != "" && !awsEndpointForm.MatchString(endpoint) {
		return AWSCredentials{}, advised{fmt.Errorf("invalid STS endpoint: '%s'", endpoint), "give an address of AWS, https://sts.REGION.amazonaws.com"}
	}
	if id.Account == "" {
		return ownAWSCredentials(ctx, w, region, endpoint)
	}
	return b.assumedRole(ctx, id, w, region, endpoint)
}

// ownAWSCredentials are those of the process: IRSA, EKS Pod Identity or the
// node.
func ownAWSCredentials(ctx context.Context, w *way, region, endpoint string) (AWSCredentials, error) {
	if region == "" {
		region = os.Getenv("AWS_REGION")
	}
	if region == "" {
		return AWSCredentials{}, advised{errors.New("AWS_REGION environment variable is not set"),
			"give the process a role (IRSA or EKS Pod Identity) and restart it, or set the variable"}
	}
	client, err := awsClient(w)
	if err != nil {
		return AWSCredentials{}, err
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithRegion(region)}
	if endpoint != "" {
		options = append(options, config.WithBaseEndpoint(endpoint))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return AWSCredentials{}, err
	}
	found, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return AWSCredentials{}, err
	}
	return fromSDK(found), nil
}

func fromSDK(found aws.Credentials) AWSCredentials {
	one := AWSCredentials{
		AccessKeyID:     found.AccessKeyID,
		SecretAccessKey: model.NewSecret([]byte(found.SecretAccessKey)),
		SessionToken:    model.NewSecret([]byte(found.SessionToken)),
	}
	if found.CanExpire {
		one.Expires = found.Expires
	}
	return one
}

// assumedRole exchanges a token of the service account for the role that its
// annotation names.
func (b *Broker) assumedRole(ctx context.Context, id model.WorkloadIdentity, w *way, region, endpoint string) (AWSCredentials, error) {
	role := id.Annotations[awsRole]
	switch {
	case region == "":
		return AWSCredentials{}, advised{errors.New("an AWS region is required for authenticating with a service account"), "name one in the object"}
	case !awsRoleForm.MatchString(role):
		return AWSCredentials{}, advised{fmt.Errorf("invalid %s annotation: '%s'", awsRole, role),
			fmt.Sprintf("annotate service account '%s/%s' with the ARN of a role", id.Namespace, id.Account)}
	}
	token, err := b.token(ctx, id, w, awsAudience)
	if err != nil {
		return AWSCredentials{}, err
	}
	client, err := awsClient(w)
	if err != nil {
		return AWSCredentials{}, err
	}
	options := sts.Options{Region: region, HTTPClient: client}
	if endpoint != "" {
		options.BaseEndpoint = &endpoint
	}
	answer, err := sts.New(options).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          &role,
		RoleSessionName:  aws.String(sessionName(id, region)),
		WebIdentityToken: &token,
	})
	if err != nil {
		return AWSCredentials{}, err
	}
	given := answer.Credentials
	if given == nil || aws.ToString(given.AccessKeyId) == "" || aws.ToString(given.SecretAccessKey) == "" {
		return AWSCredentials{}, errors.New("the answer of STS holds no credentials")
	}
	return AWSCredentials{
		AccessKeyID:     aws.ToString(given.AccessKeyId),
		SecretAccessKey: model.NewSecret([]byte(aws.ToString(given.SecretAccessKey))),
		SessionToken:    model.NewSecret([]byte(aws.ToString(given.SessionToken))),
		Expires:         aws.ToTime(given.Expiration),
	}, nil
}

// sessionName is upstream's, so that policies and trails that know it go on
// working; AWS takes no more than 64 characters.
func sessionName(id model.WorkloadIdentity, region string) string {
	name := fmt.Sprintf("%s.%s.%s.fluxcd.io", id.Account, id.Namespace, region)
	return name[:min(len(name), 64)]
}

func (b *Broker) ecrLogin(ctx context.Context, caller Caller, w *way, host string) (Login, error) {
	region, public := ecrPublicRegion, host == ecrPublicHost
	if !public {
		parts := ecrHost.FindStringSubmatch(host)
		if parts == nil {
			return Login{}, strange("AWS", host)
		}
		region = parts[1]
	}
	own, err := b.awsCredentials(ctx, caller.Identity, w, region, "")
	if err != nil {
		return Login{}, err
	}
	client, err := awsClient(w)
	if err != nil {
		return Login{}, err
	}
	signed := credentials.NewStaticCredentialsProvider(own.AccessKeyID, string(own.SecretAccessKey.Reveal()), string(own.SessionToken.Reveal()))
	var token *string
	var expires *time.Time
	if public {
		answer, err := ecrpublic.New(ecrpublic.Options{Region: region, Credentials: signed, HTTPClient: client}).
			GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
		if err != nil {
			return Login{}, err
		}
		if data := answer.AuthorizationData; data != nil {
			token, expires = data.AuthorizationToken, data.ExpiresAt
		}
	} else {
		answer, err := ecr.New(ecr.Options{Region: region, Credentials: signed, HTTPClient: client}).
			GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
		if err != nil {
			return Login{}, err
		}
		if len(answer.AuthorizationData) > 0 {
			token, expires = answer.AuthorizationData[0].AuthorizationToken, answer.AuthorizationData[0].ExpiresAt
		}
	}
	return ecrCredential(token, expires)
}

// ecrCredential reads the base64 of user:password that ECR answers.
func ecrCredential(token *string, expires *time.Time) (Login, error) {
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(token))
	user, password, found := strings.Cut(string(plain), ":")
	if err != nil || !found || expires == nil {
		return Login{}, errors.New("the answer of ECR holds no login")
	}
	return Login{Username: user, Password: model.NewSecret([]byte(password)), Expires: *expires}, nil
}

// strange is a registry that is none of the cloud.
func strange(cloud, host string) error {
	return advised{fmt.Errorf("invalid %s registry: '%s'", cloud, host), "name a provider that the registry belongs to, or generic"}
}
