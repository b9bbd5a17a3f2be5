import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;

/** Prints what Java makes of each name of a hash: the digest of a text, or "none". */
public final class Digests {
    private static final String[] NAMES = {
        "MD2", "md2", "MD4", "MD5", "md5", "MD-5", "SHA", "sha", "SHA1", "SHA-1", "sha-1", "SHA-224", "SHA224",
        "SHA-256", "SHA256", "sha256", "SHA2-256", "SHA-384", "SHA384", "SHA-512", "SHA512", "sha-512", "SHA-512/224",
        "SHA512/224", "SHA-512/256", "SHA512/256", "sha512/256", "SHA-512-256", "SHA3", "SHA3-224", "SHA3-256",
        "sha3-256", "SHA3-384", "SHA3-512", "SHA-3-256", "1.3.14.3.2.26", "OID.1.3.14.3.2.26", "oid.1.3.14.3.2.26",
        "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3", "2.16.840.1.101.3.4.2.4",
        "2.16.840.1.101.3.4.2.5", "2.16.840.1.101.3.4.2.6", "2.16.840.1.101.3.4.2.7", "2.16.840.1.101.3.4.2.8",
        "2.16.840.1.101.3.4.2.9", "2.16.840.1.101.3.4.2.10", "OID.SHA-1", "SHA-9", "RIPEMD160", "SHAKE256",
    };

    public static void main(String[] args) {
        byte[] text = "bob:geheim".getBytes(StandardCharsets.UTF_8);
        for (String name : NAMES) {
            String digest;
            try {
                digest = Base64.getEncoder().encodeToString(MessageDigest.getInstance(name).digest(text));
            } catch (NoSuchAlgorithmException e) {
                digest = "none";
            }
            System.out.println(name + "\t" + digest);
        }
    }
}
