// Sends one message as the documentation of nodemailer shows it. The only argument is JSON:
// transport (options of createTransport) and message (options of sendMail).
import { createTransport } from "nodemailer";

const { transport, message } = JSON.parse(process.argv[2]);
const mailer = createTransport(transport);
await mailer.verify();
const told = await mailer.sendMail(message);
process.stdout.write(told.response + "\n");
mailer.close();
