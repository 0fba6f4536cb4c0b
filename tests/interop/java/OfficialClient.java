// The official Java client: one command a line, its fields in base64 and between tabs; one answer a line.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.interfaces.RSAPrivateCrtKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.RSAPublicKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import javax.crypto.spec.SecretKeySpec;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.sync.ResponseTransformer;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.encryption.s3.CommitmentPolicy;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.algorithms.AlgorithmSuite;
import software.amazon.encryption.s3.internal.InstructionFileConfig;
import software.amazon.encryption.s3.materials.AesKeyring;
import software.amazon.encryption.s3.materials.Keyring;
import software.amazon.encryption.s3.materials.KmsKeyring;
import software.amazon.encryption.s3.materials.PartialRsaKeyPair;
import software.amazon.encryption.s3.materials.RsaKeyring;

public class OfficialClient {
    /** The embedded server's answer to Expect: 100-continue is taken for the last one by the asynchronous client. */
    static final ExecutionInterceptor WITHOUT_EXPECT = new ExecutionInterceptor() {
        @Override
        public SdkHttpRequest modifyHttpRequest(Context.ModifyHttpRequest context, ExecutionAttributes attributes) {
            return context.httpRequest().toBuilder().removeHeader("Expect").build();
        }
    };
    /** The official client never gives back the connection of an instruction file that it read: 50 would not last. */
    static final S3Client S3 = S3Client.builder()
        .httpClientBuilder(ApacheHttpClient.builder().maxConnections(1000))
        .endpointOverride(URI.create(System.getenv("AWS_ENDPOINT_URL_S3")))
        .forcePathStyle(true)
        .overrideConfiguration(settings -> settings.addExecutionInterceptor(WITHOUT_EXPECT))
        .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
        .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
        .build();
    static final S3AsyncClient ASYNC = S3AsyncClient.builder()
        .endpointOverride(URI.create(System.getenv("AWS_ENDPOINT_URL_S3")))
        .forcePathStyle(true)
        .overrideConfiguration(settings -> settings.addExecutionInterceptor(WITHOUT_EXPECT))
        .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
        .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
        .build();
    static final KmsClient KMS = KmsClient.builder()
        .endpointOverride(URI.create(System.getenv("AWS_ENDPOINT_URL_KMS")))
        .build();
    static final Map<String, S3EncryptionClient> CLIENTS = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                answer = "ok\t" + Base64.getEncoder().encodeToString(run(line.split("\t", -1)));
            } catch (Throwable error) {  // whatever it is, the test shall see it
                String cause = error.getCause() == null ? "" : " <- " + error.getCause();
                byte[] text = (error + cause).getBytes(StandardCharsets.UTF_8);
                answer = "error\t" + Base64.getEncoder().encodeToString(text);
            }
            System.out.println(answer);
            System.out.flush();
        }
    }

    /** action, format, kind of key, key, storage, bucket, key of the object, context, range or content. */
    static byte[] run(String[] fields) throws Exception {
        String action = text(fields[0]);
        S3EncryptionClient client = client(action, text(fields[1]), text(fields[2]), fields[3], text(fields[4]));
        String bucket = text(fields[5]);
        String key = text(fields[6]);
        Map<String, String> context = new HashMap<>();
        for (String entry : fields[7].isEmpty() ? new String[0] : fields[7].split(",")) {
            context.put(text(entry.split(":", -1)[0]), text(entry.split(":", -1)[1]));
        }
        if (action.equals("put")) {
            PutObjectRequest.Builder request = PutObjectRequest.builder().bucket(bucket).key(key);
            if (!context.isEmpty()) {
                request.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(context));
            }
            client.putObject(request.build(), RequestBody.fromBytes(bytes(fields[8])));
            return new byte[0];
        }
        GetObjectRequest.Builder request = GetObjectRequest.builder().bucket(bucket).key(key);
        if (!context.isEmpty()) {
            request.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(context));
        }
        if (action.equals("range")) {
            request.range(text(fields[8]));
        }
        return client.getObject(request.build(), ResponseTransformer.toBytes()).asByteArray();
    }

    static S3EncryptionClient client(String action, String format, String kind, String key, String storage)
            throws Exception {
        String name = String.join(" ", action.equals("range") ? "range" : "", format, kind, key, storage);
        S3EncryptionClient made = CLIENTS.get(name);
        if (made == null) {
            boolean committing = format.equals("V3");
            S3EncryptionClient.Builder builder = S3EncryptionClient.builderV4()
                .wrappedClient(S3)
                .wrappedAsyncClient(ASYNC)
                .keyring(keyring(kind, bytes(key)))
                .commitmentPolicy(committing
                    ? CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
                    : CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
                .encryptionAlgorithm(committing
                    ? AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY
                    : AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF)
                .enableLegacyUnauthenticatedModes(action.equals("range"))
                .instructionFileConfig(InstructionFileConfig.builder()
                    .instructionFileClient(S3)
                    .enableInstructionFilePutObject(storage.equals("instruction file"))
                    .build());
            made = builder.build();
            CLIENTS.put(name, made);
        }
        return made;
    }

    static Keyring keyring(String kind, byte[] key) throws Exception {
        if (kind.equals("kms")) {
            return KmsKeyring.builder()
                .kmsClient(KMS)
                .wrappingKeyId(new String(key, StandardCharsets.UTF_8))
                .build();
        }
        if (kind.equals("aes")) {
            return AesKeyring.builder().wrappingKey(new SecretKeySpec(key, "AES")).build();
        }
        KeyFactory factory = KeyFactory.getInstance("RSA");
        RSAPrivateCrtKey own = (RSAPrivateCrtKey) factory.generatePrivate(new PKCS8EncodedKeySpec(key));
        RSAPublicKeySpec known = new RSAPublicKeySpec(own.getModulus(), own.getPublicExponent());
        return RsaKeyring.builder()
            .wrappingKeyPair(PartialRsaKeyPair.builder()
                .privateKey(own)
                .publicKey(factory.generatePublic(known))
                .build())
            .build();
    }

    static byte[] bytes(String field) {
        return Base64.getDecoder().decode(field);
    }

    static String text(String field) {
        return new String(bytes(field), StandardCharsets.UTF_8);
    }
}
