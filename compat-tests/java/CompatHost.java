package org.apache.zookeeper.server;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs many standalone Apache servers in one Java process, each with its own configuration file.
 * Starting a Java process costs most of a second, starting a server in a running one almost nothing.
 *
 * <p>Reads "start ID FILE", "stop ID" and "end" from the standard input; answers each with one line.
 */
public final class CompatHost {
    private static final class Hosted {
        final ZooKeeperServerMain main = new ZooKeeperServerMain();
        Thread thread;
        volatile Throwable failure;

        void stop() throws InterruptedException {
            main.shutdown();
            thread.join(20000);
        }
    }

    public static void main(String[] args) throws Exception {
        Map<String, Hosted> all = new ConcurrentHashMap<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        String line;
        while ((line = in.readLine()) != null) {
            String[] words = line.split(" ", 3);
            switch (words[0]) {
                case "start": {
                    Hosted hosted = new Hosted();
                    ServerConfig config = new ServerConfig();
                    config.parse(words[2]);
                    hosted.thread = new Thread(() -> {
                        try {
                            hosted.main.runFromConfig(config);
                        } catch (Throwable t) {
                            hosted.failure = t;
                            t.printStackTrace();
                        }
                    }, "server-" + words[1]);
                    hosted.thread.setDaemon(true);
                    hosted.thread.start();
                    all.put(words[1], hosted);
                    System.out.println("@started " + words[1]);
                    break;
                }
                case "stop": {
                    Hosted hosted = all.remove(words[1]);
                    if (hosted != null) {
                        hosted.stop();
                    }
                    System.out.println("@stopped " + words[1]);
                    break;
                }
                default:
                    System.exit(0);
            }
            System.out.flush();
        }
        System.exit(0);
    }
}
