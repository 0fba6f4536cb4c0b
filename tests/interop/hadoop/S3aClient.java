// Hadoop's S3A: one command a line, its fields in base64 and between tabs; one answer a line.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;

public class S3aClient {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration(false);
        configuration.addResource(new Path("file://" + arguments[0]));  // as `arrowseal emr config` prints it
        configuration.set("fs.s3a.impl", "org.apache.hadoop.fs.s3a.S3AFileSystem");
        configuration.set("fs.s3a.endpoint", System.getenv("AWS_ENDPOINT_URL_S3"));
        configuration.set("fs.s3a.endpoint.region", System.getenv("AWS_REGION"));
        configuration.set("fs.s3a.path.style.access", "true");
        configuration.set("fs.s3a.connection.ssl.enabled", "false");
        configuration.set("fs.s3a.access.key", System.getenv("AWS_ACCESS_KEY_ID"));
        configuration.set("fs.s3a.secret.key", System.getenv("AWS_SECRET_ACCESS_KEY"));
        configuration.set("fs.s3a.connection.expect.continue", "false");
        configuration.set("hadoop.tmp.dir", arguments[1]);
        configuration.set("fs.s3a.buffer.dir", arguments[1]);
        configuration.set("fs.s3a.attempts.maximum", "2");
        configuration.set("fs.s3a.retry.limit", "2");
        FileSystem files = null;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                String[] fields = line.split("\t", -1);
                if (files == null) {
                    files = FileSystem.get(URI.create(text(fields[1])), configuration);
                }
                answer = "ok\t" + Base64.getEncoder().encodeToString(run(files, fields));
            } catch (Throwable error) {  // whatever it is, the test shall see it
                String cause = error.getCause() == null ? "" : " <- " + error.getCause();
                byte[] told = (error + cause).getBytes(StandardCharsets.UTF_8);
                answer = "error\t" + Base64.getEncoder().encodeToString(told);
            }
            System.out.println(answer);
            System.out.flush();
        }
        System.exit(0);
    }

    /** action, URL, and for a range: begin and length; for a write: content. */
    static byte[] run(FileSystem files, String[] fields) throws Exception {
        Path path = new Path(text(fields[1]));
        switch (text(fields[0])) {
            case "list": {
                StringBuilder found = new StringBuilder();
                RemoteIterator<LocatedFileStatus> all = files.listFiles(path, true);
                while (all.hasNext()) {
                    LocatedFileStatus one = all.next();
                    found.append(one.getPath()).append('\t').append(one.getLen()).append('\n');
                }
                return found.toString().getBytes(StandardCharsets.UTF_8);
            }
            case "range": {
                byte[] content = new byte[Integer.parseInt(text(fields[3]))];
                try (FSDataInputStream file = files.open(path)) {
                    file.readFully(Long.parseLong(text(fields[2])), content);
                }
                return content;
            }
            case "write": {
                try (FSDataOutputStream file = files.create(path, true)) {
                    file.write(Base64.getDecoder().decode(fields[2]));
                }
                return new byte[0];
            }
            default:
                throw new IllegalArgumentException(text(fields[0]));
        }
    }

    static String text(String field) {
        return new String(Base64.getDecoder().decode(field), StandardCharsets.UTF_8);
    }
}
