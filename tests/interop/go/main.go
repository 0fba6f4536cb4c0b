// The official Go client: one command a line, its fields in base64 and between tabs; one answer a line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/amazon-s3-encryption-client-go/v4/algorithms"
	"github.com/aws/amazon-s3-encryption-client-go/v4/client"
	"github.com/aws/amazon-s3-encryption-client-go/v4/commitment"
	"github.com/aws/amazon-s3-encryption-client-go/v4/materials"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var clients = map[string]*client.S3EncryptionClientV4{}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		content, err := run(strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		if err != nil { // whatever it is, the test shall see it
			fmt.Println("error\t" + base64.StdEncoding.EncodeToString([]byte(err.Error())))
		} else {
			fmt.Println("ok\t" + base64.StdEncoding.EncodeToString(content))
		}
	}
}

// action, format, kind of key, key, storage, bucket, key of the object, context, content.
func run(fields []string) ([]byte, error) {
	action, format, kind := text(fields[0]), text(fields[1]), text(fields[2])
	if kind != "kms" || action == "range" {
		return nil, fmt.Errorf("the Go client has KMS keyrings only, and no ranges")
	}
	s3ec, err := clientFor(format, text(fields[3]))
	if err != nil {
		return nil, err
	}
	ctx, bucket, key := context.Background(), text(fields[5]), text(fields[6])
	if fields[7] != "" {
		entries := map[string]string{}
		for _, entry := range strings.Split(fields[7], ",") {
			name, value, _ := strings.Cut(entry, ":")
			entries[text(name)] = text(value)
		}
		ctx = context.WithValue(ctx, client.EncryptionContext, entries)
	}
	if action == "put" {
		body := bytes.NewReader([]byte(text(fields[8])))
		_, err := s3ec.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: body})
		return nil, err
	}
	answer, err := s3ec.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

func clientFor(format string, kmsKeyID string) (*client.S3EncryptionClientV4, error) {
	name := format + " " + kmsKeyID
	if made, known := clients[name]; known {
		return made, nil
	}
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, err
	}
	plain := s3.NewFromConfig(settings, func(options *s3.Options) {
		options.EndpointResolver = s3.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_S3"))
		options.UsePathStyle = true
	})
	keys := kms.NewFromConfig(settings, func(options *kms.Options) {
		options.EndpointResolver = kms.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_KMS"))
	})
	manager, err := materials.NewCryptographicMaterialsManager(materials.NewKmsKeyring(keys, kmsKeyID))
	if err != nil {
		return nil, err
	}
	made, err := client.New(plain, manager, func(options *client.EncryptionClientOptions) {
		if format == "V2" {
			options.CommitmentPolicy = commitment.FORBID_ENCRYPT_ALLOW_DECRYPT
			options.EncryptionAlgorithmSuite = algorithms.AlgAES256GCMIV12Tag16NoKDF
		}
	})
	if err == nil {
		clients[name] = made
	}
	return made, err
}

func text(field string) string {
	content, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		panic(err)
	}
	return string(content)
}
