import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.util.Bytes;

/** Creates a table with eight regions, puts rows, counts them. */
public final class HBaseLoad {
    public static void main(String[] args) throws Exception {
        long rows = Long.parseLong(args[1]);
        TableName name = TableName.valueOf("t");
        byte[] family = Bytes.toBytes("f");
        Configuration configuration = HBaseConfiguration.create();
        try (Connection connection = ConnectionFactory.createConnection(configuration)) {
            if (args[0].equals("create")) {
                byte[][] splits = new byte[7][];
                for (int i = 0; i < 7; i++) {
                    splits[i] = Bytes.toBytes(String.format("%d", i + 2));
                }
                try (Admin admin = connection.getAdmin()) {
                    admin.createTable(TableDescriptorBuilder.newBuilder(name)
                            .setColumnFamily(ColumnFamilyDescriptorBuilder.of(family)).build(), splits);
                    System.out.println("regions " + admin.getRegions(name).size());
                }
            } else if (args[0].equals("put")) {
                try (Table table = connection.getTable(name)) {
                    List<Put> batch = new ArrayList<>();
                    for (long i = 0; i < rows; i++) {
                        String key = String.format("%d%09d", i % 9 + 1, i);
                        batch.add(new Put(Bytes.toBytes(key)).addColumn(family, Bytes.toBytes("v"), Bytes.toBytes(i)));
                        if (batch.size() == 1000 || i == rows - 1) {
                            table.put(batch);
                            batch.clear();
                        }
                    }
                }
            } else {
                long count = 0;
                try (Table table = connection.getTable(name);
                        ResultScanner scanner = table.getScanner(new Scan().setCaching(1000))) {
                    for (Result result : scanner) {
                        count++;
                    }
                }
                System.out.println("rows " + count);
            }
        }
        System.exit(0);
    }
}
