package sops

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/getsops/sops/v3/keyservice"
	"sigs.k8s.io/yaml"
)

// awsCredentials is the entry sops.aws-kms.
type awsCredentials struct {
	AccessKeyID     string `json:"aws_access_key_id"`
	SecretAccessKey string `json:"aws_secret_access_key"`
	SessionToken    string `json:"aws_session_token"`
}

// readAWS reads the entry, and returns what is wrong with it.
func readAWS(value []byte) (*awsCredentials, string) {
	var c awsCredentials
	if err := yaml.Unmarshal(value, &c); err != nil {
		return nil, "it is no YAML with aws_access_key_id and aws_secret_access_key"
	}
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return nil, "it lacks aws_access_key_id or aws_secret_access_key"
	}
	return &c, ""
}

// longestName bounds what a file may call a key of a cloud, or a role.
const longestName = 1024

// A file says which key of which region it is encrypted with, and as which
// role. What it says becomes part of a host name.
var (
	keyARN  = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z]{2}-[a-z-]+-[0-9]):[0-9]{12}:(?:key|alias)/[\w/:-]+$`)
	roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
)

func (k *keys) openAWS(ctx context.Context, key *keyservice.KmsKey, sealed []byte) ([]byte, error) {
	arn := keyARN.FindStringSubmatch(key.GetArn())
	if arn == nil || len(arn[0]) > longestName || len(arn[1]) > 32 {
		return nil, refusal("its ARN is none of a key")
	}
	region := arn[1]
	blob, err := standardBase64(sealed)
	if err != nil {
		return nil, err
	}
	provider, err := k.awsProvider(ctx, region, key.GetRole())
	if err != nil {
		return nil, err
	}
	client := kms.New(kms.Options{Region: region, Credentials: provider, HTTPClient: k.client, RetryMaxAttempts: 1})
	answer, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: aws.String(key.GetArn()), CiphertextBlob: blob, EncryptionContext: key.GetContext()})
	if err != nil {
		return nil, awsError(err)
	}
	return answer.Plaintext, nil
}

// awsProvider returns the credentials of the Secret, or else of the workload
// identity, and with a role those that it is exchanged for.
func (k *keys) awsProvider(ctx context.Context, region, role string) (aws.CredentialsProvider, error) {
	var provider aws.CredentialsProvider
	switch {
	case k.aws != nil:
		provider = credentials.NewStaticCredentialsProvider(k.aws.AccessKeyID, k.aws.SecretAccessKey, k.aws.SessionToken)
	case k.workload != nil:
		c, err := k.workload.AWS(ctx, region)
		if err != nil {
			return nil, err
		}
		provider = credentials.NewStaticCredentialsProvider(c.AccessKeyID, string(c.SecretKey.Reveal()), string(c.SessionToken.Reveal()))
	default:
		return nil, refusal("no AWS credentials are given")
	}
	if role == "" {
		return provider, nil
	}
	if !roleARN.MatchString(role) || len(role) > longestName {
		return nil, refusal("its role is none")
	}
	client := sts.New(sts.Options{Region: region, Credentials: provider, HTTPClient: k.client, RetryMaxAttempts: 1})
	answer, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("plumb")})
	if err != nil {
		return nil, awsError(err)
	}
	c := answer.Credentials
	if c == nil {
		return nil, unreachable("AWS gave no credentials for the role")
	}
	return credentials.NewStaticCredentialsProvider(aws.ToString(c.AccessKeyId), aws.ToString(c.SecretAccessKey), aws.ToString(c.SessionToken)), nil
}

// awsError tells the status and the code only.
func awsError(err error) error {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() == 0 {
		return unreachable("no answer from AWS")
	}
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	status := response.HTTPStatusCode()
	if code == "ThrottlingException" || code == "LimitExceededException" {
		status = http.StatusTooManyRequests
	}
	return statusError("AWS", status, code)
}
