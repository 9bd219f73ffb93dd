import com.unboundid.ldap.listener.InMemoryDirectoryServer;
import com.unboundid.ldap.listener.InMemoryDirectoryServerConfig;
import com.unboundid.ldap.listener.InMemoryListenerConfig;
import com.unboundid.util.MinimalLogFormatter;
import java.net.InetAddress;
import java.util.logging.FileHandler;

/** Serves an LDIF file on loopback until it is killed: arguments are the suffix, the file, the administrator, his password and the log. */
class Directory {

    public static void main(String[] args) throws Exception {
        InMemoryDirectoryServerConfig config = new InMemoryDirectoryServerConfig(args[0]);
        config.addAdditionalBindCredentials(args[2], args[3]);
        config.setListenerConfigs(InMemoryListenerConfig.createLDAPConfig("ldap", InetAddress.getByName("127.0.0.1"), 0, null));
        FileHandler log = new FileHandler(args[4]);
        log.setFormatter(new MinimalLogFormatter());
        config.setAccessLogHandler(log);
        InMemoryDirectoryServer server = new InMemoryDirectoryServer(config);
        server.importFromLDIF(true, args[1]);
        server.startListening();
        System.out.println("listening on " + server.getListenPort());
    }
}
